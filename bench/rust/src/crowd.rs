//! Many viewers of MJPEG over HTTP that throw the bytes away: how many pictures each gets, and how old their last bytes are.
//!
//! The pictures' bytes are never copied out of the kernel (`MSG_TRUNC`), so that nearly all of the machine is left to the
//! server; heads are read and parsed, also inside chunks, as browsers get them.

use std::{
    io::{self, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::{
        Timespec,
        epoll::{self, EventData, EventFlags},
    },
    io::Errno,
    net::{RecvFlags, recv},
    process::{Resource, getrlimit, setrlimit},
};

use framewire::Stop;

/// What is discarded with one call at most, and read where heads are.
const DISCARDED: usize = 1 << 20;
const READ: usize = 512;
/// Calls for one viewer before another has its turn.
const TURN: usize = 8;
const LOOK_AROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// A head is at most this long.
const LONGEST_HEAD: usize = 8 << 10;
/// A picture this old is counted as old.
const OLD: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Crowd {
    /// http://HOST:PORT/streams/NAME/mjpeg
    address: String,
    #[arg(long, default_value_t = 100)]
    viewers: usize,
    /// Not measured, after all have connected
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

/// Watches until the time is over or the stop is raised, then tells what came.
pub(crate) fn watch(crowd: &Crowd, stop: &Stop) -> Result<()> {
    let most = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: most.maximum, ..most })?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut viewers = Vec::with_capacity(crowd.viewers);
    for number in 0..crowd.viewers {
        let viewer = Viewer::connect(&crowd.address).with_context(|| format!("viewer {number}"))?;
        epoll::add(&epoll, &viewer.stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        viewers.push(viewer);
    }
    let begin = Instant::now() + Duration::from_secs_f64(crowd.warm_up);
    let end = begin + Duration::from_secs_f64(crowd.seconds);
    let mut events = Vec::with_capacity(1024);
    let (mut begun, mut waste) = (false, vec![0; DISCARDED]);
    while !stop.stopped() && Instant::now() < end {
        if !begun && Instant::now() >= begin {
            begun = true;
            viewers.iter_mut().for_each(|viewer| viewer.ages.clear());
            println!("{{\"begun\": {}}}", viewers.len());
        }
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&LOOK_AROUND)) {
            // It was stopped and continued.
            Err(Errno::INTR) => {}
            outcome => drop(outcome?),
        }
        for event in events.drain(..) {
            let number = event.data.u64() as usize;
            viewers[number].read(&mut waste).with_context(|| format!("viewer {number}"))?;
        }
    }
    if begun {
        tell(&viewers, begin.elapsed().as_secs_f64());
    }
    Ok(())
}

fn tell(viewers: &[Viewer], seconds: f64) {
    let mut ages: Vec<f64> =
        viewers.iter().flat_map(|viewer| &viewer.ages).map(|age| age.as_secs_f64() * 1e3).collect();
    ages.sort_by(f64::total_cmp);
    let part =
        |part: f64| ages.get(((ages.len() as f64 * part) as usize).min(ages.len().max(1) - 1)).copied().unwrap_or(0.0);
    let rates = viewers.iter().map(|viewer| viewer.ages.len() as f64 / seconds);
    let (least, sum) = rates.fold((f64::INFINITY, 0.0), |(least, sum), rate| (f64::min(least, rate), sum + rate));
    let old = ages.iter().filter(|age| **age > OLD.as_secs_f64() * 1e3).count();
    println!(
        "{{\"viewers\": {}, \"fps_least\": {least:.3}, \"fps_mean\": {:.3}, \"p50\": {:.3}, \"p99\": {:.3}, \"max\": {:.3}, \"old\": {old}}}",
        viewers.len(),
        sum / viewers.len() as f64,
        part(0.5),
        part(0.99),
        part(1.0),
    );
}

struct Viewer {
    stream: TcpStream,
    state: State,
    /// Bytes left of the chunk that is being read; `None` where the response has no chunks.
    chunk: Option<usize>,
    /// What has come of a head or of a chunk's size.
    head: Vec<u8>,
    size: Vec<u8>,
    ages: Vec<Duration>,
}

#[derive(Clone, Copy)]
enum State {
    /// The response's own head.
    Response,
    /// Lines up to the empty one behind the head of a part.
    Head,
    /// So many bytes of a picture are still to come, which was captured then.
    Picture(usize, Duration),
}

impl Viewer {
    fn connect(address: &str) -> Result<Self> {
        let rest = address.strip_prefix("http://").context("the address does not begin with http://")?;
        let (authority, path) = rest.split_once('/').context("the address has no path")?;
        let at = authority.to_socket_addrs()?.next().context("no such host")?;
        let mut stream = TcpStream::connect(at)?;
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n")?;
        stream.set_nonblocking(true)?;
        let (head, size) = (Vec::new(), Vec::new());
        Ok(Self { stream, state: State::Response, chunk: None, head, size, ages: Vec::new() })
    }

    /// Takes what is there.
    fn read(&mut self, waste: &mut [u8]) -> Result<()> {
        for _ in 0..TURN {
            let discarded = self.discardable().min(waste.len());
            let (buffer, flags) = if discarded > 0 {
                (&mut waste[..discarded], RecvFlags::TRUNC)
            } else {
                (&mut waste[..READ], RecvFlags::empty())
            };
            let read = match recv(&self.stream, &mut *buffer, flags) {
                Ok((_, 0)) => bail!("the server ended the stream"),
                Ok((_, read)) => read,
                Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the connection broke"),
            };
            if discarded > 0 {
                self.passed(read);
            } else {
                let bytes: Vec<u8> = buffer[..read].to_vec();
                self.push(&bytes)?;
            }
        }
        Ok(())
    }

    /// How many bytes of a picture come next.
    fn discardable(&self) -> usize {
        match self.state {
            State::Picture(left, _) => self.chunk.map_or(left, |chunk| chunk.min(left)),
            State::Response | State::Head => 0,
        }
    }

    /// So many bytes of a picture have gone by.
    fn passed(&mut self, count: usize) {
        if let Some(chunk) = &mut self.chunk {
            *chunk -= count;
        }
        if let State::Picture(left, captured) = &mut self.state {
            *left -= count;
            if *left == 0 {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.ages.push(now.saturating_sub(*captured));
                self.state = State::Head;
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = if self.chunk == Some(0) {
                self.chunk_size(rest[0])?;
                1
            } else if self.discardable() > 0 {
                let count = self.discardable().min(rest.len());
                self.passed(count);
                count
            } else {
                if let Some(chunk) = &mut self.chunk {
                    *chunk -= 1;
                }
                self.head_byte(rest[0])?;
                1
            };
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// A byte of the line that says how long the next chunk is; the end of the last one stands before it.
    fn chunk_size(&mut self, byte: u8) -> Result<()> {
        match byte {
            b'\n' if !self.size.is_empty() => {
                let text = str::from_utf8(&self.size)?;
                let size = usize::from_str_radix(text.trim_end(), 16)
                    .with_context(|| format!("'{text}' is no chunk's size"))?;
                ensure!(size > 0, "the server ended the stream");
                self.chunk = Some(size);
                self.size.clear();
            }
            b'\r' | b'\n' => {}
            _ => self.size.push(byte),
        }
        ensure!(self.size.len() < READ, "a chunk's size is too long");
        Ok(())
    }

    fn head_byte(&mut self, byte: u8) -> Result<()> {
        self.head.push(byte);
        ensure!(self.head.len() < LONGEST_HEAD, "a head is too long");
        if !self.head.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let head = String::from_utf8(std::mem::take(&mut self.head))?.to_ascii_lowercase();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let State::Response = self.state {
            ensure!(head.starts_with("http/1.1 200"), "{}", head.lines().next().unwrap_or_default());
            self.chunk = (value("transfer-encoding") == Some("chunked")).then_some(0);
            self.state = State::Head;
            return Ok(());
        }
        let length = value("content-length").context("a part says no length")?.parse()?;
        let captured = value("x-timestamp").context("a part says no time")?.parse()?;
        self.state = State::Picture(length, Duration::try_from_secs_f64(captured)?);
        Ok(())
    }
}
