//! A recording in files: frames as they are, and those that a file cannot hold made to fit.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use framewire_proto::{Codec, Config, Frame};
use rustix::fs::{Access, access};

use super::{Outcome, QUALITY};
use crate::error::{Error, OrError as _, Result, ensure, error};
use crate::{
    media::{Picture, jpeg, mux::Muxer},
    transcode::encode::{CodecChoice, EncodeOptions, Encoder, Size},
};

/// A recording in files, usually one.
pub(super) struct Files {
    path: PathBuf,
    encoder: jpeg::JpegEncoder,
    open: Option<OpenFile>,
    begun: Vec<PathBuf>,
    /// Frames that were written when a file was closed.
    late: u64,
}

/// A file, and what is made of frames that it cannot hold as they come.
struct OpenFile {
    /// Of its first frame.
    config: Config,
    muxer: Muxer,
    /// Of the last frame.
    given: Config,
    /// Codes frames of another size; `None` while they come in the first one's.
    fitting: Option<Box<Encoder>>,
    /// What follows depends on frames that are not in the file.
    needs_keyframe: bool,
}

impl Files {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, encoder: jpeg::JpegEncoder::new(QUALITY), open: None, begun: Vec::new(), late: 0 }
    }

    pub(super) fn write(&mut self, config: &Config, frame: &Frame) -> Result<Outcome> {
        if config.codec.raw_length(1, 1).is_none() {
            return self.put(config, frame);
        }
        let picture = Picture::new(config.codec, config.width.into(), config.height.into(), frame.data.clone());
        match picture.and_then(|picture| self.encoder.encode(&picture)) {
            Ok(data) => self.put(&Config { codec: Codec::Jpeg, ..config.clone() }, &Frame { data, ..frame.clone() }),
            Err(error) => Ok(Outcome::Bad(error)),
        }
    }

    fn put(&mut self, config: &Config, frame: &Frame) -> Result<Outcome> {
        if self.open.as_ref().is_none_or(|open| open.config.codec != config.codec) {
            self.late += self.close()?;
            let path = if self.begun.is_empty() { self.path.clone() } else { following(&self.path, self.begun.len())? };
            self.open = Some(OpenFile::create(&path, config)?);
            self.begun.push(path);
        }
        self.open.as_mut().map_or(Ok(Outcome::Written { frames: 0, bytes: 0 }), |open| open.put(config, frame))
    }

    /// Finishes the last file. Returns which were begun, and how many frames were written after all others were taken.
    pub(super) fn finish(&mut self) -> Result<(Vec<PathBuf>, u64)> {
        self.late += self.close()?;
        Ok((std::mem::take(&mut self.begun), self.late))
    }

    fn close(&mut self) -> Result<u64> {
        let Some(mut open) = self.open.take() else { return Ok(0) };
        let late = open.end_fitting()?;
        if open.muxer.finish()? == 0 {
            // It was removed.
            self.begun.pop();
        }
        Ok(late)
    }
}

impl OpenFile {
    fn create(path: &Path, config: &Config) -> Result<Self> {
        let presented = Muxer::presents(path, config.presentation)?;
        let given = config.clone();
        let (width, height) = config.shown_size();
        let config = if presented { config } else { &Config::new(config.codec, width, height, config.millifps) };
        let muxer = Muxer::create(path, config)?;
        if config.codec == Codec::Jpeg && muxer.is_for_browsers() {
            tracing::warn!(
                "{}: JPEGs in MP4 play in no browser: --codec h264 makes a file that does, an .mkv keeps them as they are",
                path.display()
            );
        }
        let mut file = Self { config: config.clone(), muxer, given, fitting: None, needs_keyframe: false };
        if !presented {
            tracing::info!(
                "{}: encoded again, for this format cannot state how its pictures are turned: .mp4 can",
                path.display()
            );
            file.fitting = Some(Box::new(Encoder::new(file.fit())?));
        }
        Ok(file)
    }

    fn put(&mut self, config: &Config, frame: &Frame) -> Result<Outcome> {
        let mut late = 0;
        if !same_kind(&self.given, config) {
            late = self.end_fitting()?;
            self.given = config.clone();
            self.needs_keyframe = true;
            let shown_alike = self.config.presentation == config.presentation;
            let fits = self.muxer.holds_any_size() && shown_alike || same_kind(&self.config, config);
            self.fitting = if fits { None } else { Some(Box::new(Encoder::new(self.fit())?)) };
        }
        if self.needs_keyframe && !frame.keyframe {
            return Ok(Outcome::Bad(error!(InvalidData, "what follows a change of size begins with a keyframe")));
        }
        self.needs_keyframe = false;
        let frames = match &mut self.fitting {
            None => self.mux(config, frame)?,
            Some(encoder) => match encoder.encode(config, frame) {
                Ok(Some((config, frame))) => self.mux(&config, &frame)?,
                // With B-frames the picture comes later.
                Ok(None) => 0,
                Err(error) => return Ok(Outcome::Bad(error)),
            },
        };
        Ok(Outcome::Written { frames: late + frames, bytes: frame.data.len() })
    }

    /// Writes the pictures of another size that were held back.
    fn end_fitting(&mut self) -> Result<u64> {
        let Some(mut encoder) = self.fitting.take() else { return Ok(0) };
        let mut frames = 0;
        encoder.finish();
        while let Some((config, frame)) = encoder.pull(&self.given)? {
            frames += self.mux(&config, &frame)?;
        }
        Ok(frames)
    }

    /// Returns how many frames were written.
    fn mux(&mut self, config: &Config, frame: &Frame) -> Result<u64> {
        let before = self.muxer.written();
        if frame.keyframe && config.extra != self.config.extra {
            // The file's header holds other parameter sets.
            let data = [&config.extra[..], &frame.data[..]].concat().into();
            self.muxer.write(&Frame { data, ..frame.clone() })?;
        } else {
            self.muxer.write(frame)?;
        }
        Ok(self.muxer.written() - before)
    }

    /// How to code frames so that they fit the file.
    fn fit(&self) -> EncodeOptions {
        let Config { codec, width, height, .. } = self.config;
        EncodeOptions {
            quality: Some(QUALITY),
            size: Some(Size::Exactly(width.into(), height.into())),
            codec: if codec == Codec::H264 { CodecChoice::H264 } else { CodecChoice::Jpeg },
            reencode: true,
            ..EncodeOptions::default()
        }
    }
}

/// Whether frames of both can stand in any file together. A change of rate alone shows in their times.
fn same_kind(one: &Config, other: &Config) -> bool {
    let kind = |config: &Config| (config.codec, config.width, config.height, config.extra.clone(), config.presentation);
    kind(one) == kind(other)
}

/// Checks before anything is opened that a recording of this source may begin in this file.
///
/// # Errors
/// It is the source itself, it is there already and shall not be replaced, its extension or its folder is wrong, or nobody may
/// write there.
pub fn check_file(path: &Path, source: &str, overwrite: bool) -> Result<()> {
    let shown = path.display();
    Muxer::check_name(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(folder.is_dir(), NotFound, "{shown}: there is no folder {}: make it first", folder.display());
    let writable = |path: &Path| access(path, Access::WRITE_OK).is_ok();
    let Ok(existing) = path.metadata() else {
        ensure!(writable(folder), PermissionDenied, "{shown}: you may not write in {}", folder.display());
        return Ok(());
    };
    let source = source.strip_prefix("file://").or_else(|| source.strip_prefix("file:")).unwrap_or(source);
    let place = |file: &Metadata| (file.dev(), file.ino());
    let same = Path::new(source).metadata().is_ok_and(|source| place(&source) == place(&existing));
    ensure!(!same, InvalidInput, "{shown} is what would be recorded: name another file");
    ensure!(!existing.is_dir(), InvalidInput, "{shown} is a folder: name a file in it");
    ensure!(writable(path), PermissionDenied, "{shown}: you may not write this file");
    ensure!(overwrite, InvalidInput, "{shown} is there already: name another file, or add --overwrite to replace it");
    Ok(())
}

/// A name for the next file where so many were begun already: with a number before its ending, never that of a file that
/// is there.
///
/// # Errors
/// No number is free.
pub fn following(path: &Path, begun: usize) -> Result<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let name = |number: usize| path.with_file_name(format!("{stem}-{number}.{extension}"));
    let mut names = (begun + 1..begun + 10_000).map(name);
    names
        .find(|name| !name.exists())
        .or_error(Error::Busy, || format!("{}: no number is free after it", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process::Command};

    use framewire_proto::Times;

    use super::*;

    /// Frames of these sizes in runs of three, coded by this codec, from this number on.
    fn runs(codec: CodecChoice, sizes: &[(u16, u16)]) -> Vec<(Config, Frame)> {
        let mut frames = Vec::new();
        for (run, (width, height)) in sizes.iter().copied().enumerate() {
            let mut encoder = Encoder::new(EncodeOptions { codec, ..EncodeOptions::default() }).unwrap();
            let plain = Config::new(Codec::I420, width, height, 25_000);
            let data = vec![90; Codec::I420.raw_length(width.into(), height.into()).unwrap()];
            for sequence in (3 * run as u64)..(3 * run as u64 + 3) {
                let times = Times { captured: 1_000_000 + sequence * 40_000, ..Times::default() };
                let frame = Frame { sequence, keyframe: true, times, data: data.clone().into() };
                frames.extend(encoder.encode(&plain, &frame).unwrap());
            }
        }
        frames
    }

    /// The sizes of the pictures of a file, as FFmpeg decodes them.
    fn sizes(file: &Path) -> Vec<String> {
        let mut probe = Command::new("ffprobe");
        probe.args(["-v", "error", "-show_entries", "frame=width,height", "-of", "csv=p=0"]).arg(file);
        let output = probe.output().unwrap();
        assert!(output.stderr.is_empty(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // FFmpeg tells of a frame's side data by empty lines.
        text.lines().map(|line| line.trim_end_matches(',').to_owned()).filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn a_size_that_changes_and_comes_back_leaves_one_file_that_plays() {
        let folder = env::temp_dir().join(format!("framewire-sizes-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (codec, name) in [(CodecChoice::Jpeg, "jpeg"), (CodecChoice::H264, "h264")] {
            for extension in ["mkv", "mp4", "avi"] {
                let path = folder.join(format!("{name}.{extension}"));
                let mut files = Files::new(path.clone());
                for (config, frame) in runs(codec, &[(64, 48), (32, 32), (64, 48), (96, 32)]) {
                    assert!(matches!(files.write(&config, &frame).unwrap(), Outcome::Written { frames: 1, .. }));
                }
                assert_eq!(files.finish().unwrap().0, std::slice::from_ref(&path));
                let expected = if extension == "mkv" { ["64,48", "32,32", "64,48", "96,32"] } else { ["64,48"; 4] };
                assert_eq!(sizes(&path), expected.map(|size| [size; 3]).concat(), "{}", path.display());
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn another_codec_begins_a_file_with_the_first_free_number() {
        let folder = env::temp_dir().join(format!("framewire-codecs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (first, kept) = (folder.join("door.mkv"), folder.join("door-2.mkv"));
        fs::write(&kept, "somebody's").unwrap();
        let mut files = Files::new(first.clone());
        for (config, frame) in
            [CodecChoice::Jpeg, CodecChoice::H264].into_iter().flat_map(|codec| runs(codec, &[(64, 48)]))
        {
            files.write(&config, &frame).unwrap();
        }
        let (begun, _) = files.finish().unwrap();
        assert_eq!(begun, [first, folder.join("door-3.mkv")]);
        assert_eq!(fs::read(&kept).unwrap(), b"somebody's");
        assert!(begun.iter().all(|file| sizes(file).len() == 3));
        fs::remove_dir_all(folder).unwrap();
    }
}
