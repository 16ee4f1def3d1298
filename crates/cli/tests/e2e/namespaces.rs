//! Tests that need networks or disks of their own: as root in this process, otherwise in a user namespace, where the kernel
//! allows one. Where neither is possible the test is reported as skipped, by its name, and never just passes.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{ChildStdin, Command},
    sync::LazyLock,
    thread::{self, JoinHandle},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::{PATIENCE, Running, Scratch, run, run_for, tool};

/// Set to 1 where every test must run: a test that would be skipped fails.
const REQUIRE_ALL: &str = "FRAMEWIRE_REQUIRE_ALL";

/// The name by which `cargo test` knows the test that this stands in.
macro_rules! this_test {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here).trim_end_matches("::here");
        name.split_once("::").expect("a crate's name before the test's").1
    }};
}
pub(crate) use this_test;

/// Whether this process may make networks and mount disks. If not, the test has been run in a namespace where it may, or was
/// reported as skipped, and is done.
pub(crate) fn is_root_here(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    match &*USER_NAMESPACES {
        Ok(()) => run_again_inside(test),
        Err(why) => skip(test, why),
    }
    false
}

/// Whether this user may make user namespaces; if not, why.
static USER_NAMESPACES: LazyLock<Result<(), String>> = LazyLock::new(|| {
    let mut command = unshare();
    command.arg("true");
    let tried = run(command);
    let why = String::from_utf8_lossy(&tried.stderr);
    let why = || format!("no user namespaces here ({}): run the tests as root", why.trim());
    tried.status.success().then_some(()).ok_or_else(why)
});

/// Becomes root of a user namespace that has a network and mounts of its own.
fn unshare() -> Command {
    let mut command = tool("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--net"]);
    command
}

/// Runs this one test in a process of its own that is root of a user namespace.
fn run_again_inside(test: &str) {
    let mut command = unshare();
    command.arg(env::current_exe().expect("this program")).args([test, "--exact", "--nocapture"]);
    let ran = run_for(command, 12 * PATIENCE);
    let printed = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(ran.status.success(), "in a user namespace: {printed}");
    assert!(printed.contains("test result: ok. 1 passed"), "{test} was not run in a user namespace: {printed}");
    println!("{printed}");
}

/// Reports that a test cannot run here, and why: `make test` ends with the list. Where every test must run, that is a failure.
pub(crate) fn skip(test: &str, why: &str) {
    let required = env::var_os(REQUIRE_ALL).is_some_and(|value| value == "1");
    assert!(!required, "{test} cannot run here, and {REQUIRE_ALL}=1 says that it must: {why}");
    report(&skipped(), test, why).expect("a line in the list of skipped tests");
}

/// The list of skipped tests, which `make test` prints: beside the folder that Cargo gives to tests.
fn skipped() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("skipped-tests.txt")
}

fn report(list: &Path, test: &str, why: &str) -> io::Result<()> {
    let line = format!("{test}: {}\n", why.split_whitespace().collect::<Vec<_>>().join(" "));
    eprint!("skipped: {line}");
    // In one piece: other tests may report at the same time.
    OpenOptions::new().create(true).append(true).open(list)?.write_all(line.as_bytes())
}

/// A network namespace; it goes with the test.
pub(crate) struct Network {
    /// A process in it, which ends when its input does.
    holder: Running,
    _input: ChildStdin,
}

impl Network {
    /// A network of its own with nothing in it but `lo`; if that is refused, why.
    pub(crate) fn new() -> Result<Self, String> {
        let mut hold = tool("unshare");
        hold.args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"]);
        let (holder, input, output) = Running::start_piped(hold);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line, or the end");
        if line.trim() == "ready" {
            return Ok(Self { holder, _input: input });
        }
        let (_, printed) = holder.ended();
        Err(format!("no network namespaces here ({printed})"))
    }

    /// A process in it, by whose number others find it.
    pub(crate) fn id(&self) -> u32 {
        self.holder.id()
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.id())
    }

    /// The same command in this network.
    pub(crate) fn within(&self, command: &Command) -> Command {
        let mut inside = tool("nsenter");
        inside.arg(format!("--net={}", self.path())).arg(command.get_program()).args(command.get_args());
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside
    }

    /// Runs this on a thread in this network.
    pub(crate) fn spawn<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = File::open(self.path()).expect("a namespace");
        thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("the right to enter");
            job()
        })
    }
}

#[test]
fn a_test_knows_its_name() {
    assert_eq!(this_test!(), "namespaces::a_test_knows_its_name");
}

#[test]
fn skipped_tests_are_listed_with_their_reason_in_a_line() {
    let scratch = Scratch::new("skipped");
    let list = scratch.path().join("list");
    report(&list, "cable::one", "no namespaces:\n  not permitted").unwrap();
    report(&list, "cable::two", "no disk").unwrap();
    let listed = std::fs::read_to_string(&list).unwrap();
    assert_eq!(listed, "cable::one: no namespaces: not permitted\ncable::two: no disk\n");
    assert!(skipped().ends_with("target/skipped-tests.txt") || env::var_os("CARGO_TARGET_DIR").is_some());
}
