//! Options that do nothing where they stand are errors: each kind of source honours some, and each use of its frames others.

use framewire_proto::wire::tutorial::End;

use super::{Options, Spec, kind};
use crate::error::{Result, ensure};
use crate::{net::endpoint::Endpoint, transcode::encode::CodecChoice};

/// What a source's frames are for, and so which options it honours beside the source's own.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// As in "fps does nothing …".
    pub words: &'static str,
    /// The names of the options.
    pub honours: &'static [&'static str],
}

impl Use {
    /// To be coded for a link.
    pub const SENT: Self = Self {
        words: "where frames are sent",
        honours: &["size", "quality", "bitrate", "codec", "max-age", "max-frame"],
    };
    /// To be coded for a link to a program that takes JPEGs only.
    pub const SENT_AS_JPEG: Self =
        Self { words: "where only JPEGs are taken", honours: &["size", "quality", "bitrate", "codec=jpeg", "max-age"] };
    /// To be sent as plain pixels.
    pub const SENT_AS_PIXELS: Self = Self { words: "where plain pixels are sent", honours: &["size", "max-age"] };
    /// To be coded for a hub's viewers.
    pub const SERVED: Self = Self { words: "for a source of a hub", honours: &["size", "quality", "bitrate", "codec"] };
    /// To be coded for a file.
    pub const RECORDED: Self =
        Self { words: "where frames are recorded", honours: &["size", "quality", "bitrate", "codec", "max-age"] };
    /// To be recorded as they come, one file for each camera that connects.
    pub const KEPT: Self = Self { words: "where each camera's frames are recorded as they come", honours: &[] };
    /// To be read by a program as JPEGs.
    pub const READ_AS_JPEG: Self =
        Self { words: "where JPEGs are written", honours: &["size", "quality", "codec=jpeg", "max-age"] };
    /// To be read by a program as plain pixels.
    pub const READ: Self = Self { words: "where plain pixels are written", honours: &["size", "max-age"] };
    /// To be shown or measured.
    pub const SHOWN: Self = Self { words: "where frames are shown as they come", honours: &["max-age"] };
}

/// What a source honours by itself.
struct Own {
    summary: &'static str,
    /// It gives the size that it is asked for.
    sized: bool,
    /// Its pictures can be turned.
    turned: bool,
    honours: &'static [&'static str],
}

impl Spec {
    /// Whether this option does something for a source of this kind, whatever its frames are for: `fps`, `loop`, `wait`, …
    pub fn honours(&self, option: &str) -> bool {
        self.own().is_ok_and(|own| own.honours.contains(&option))
    }

    /// What it honours by itself.
    fn own(&self) -> Result<Own> {
        if Endpoint::matches(self.source.expose())
            && Endpoint::parse(self.source.expose())?.tutorial.camera == End::Connects
        {
            return Ok(Own { summary: "a tutorial's camera", sized: false, turned: false, honours: &["max-frame"] });
        }
        let kind = kind(self)?;
        Ok(Own { summary: kind.summary, sized: kind.sized, turned: true, honours: kind.honours })
    }

    /// Checks that every option does something for this source and this use of its frames.
    ///
    /// # Errors
    /// The first one that does nothing, or that contradicts another.
    pub(crate) fn check_options(&self, purpose: Use) -> Result<()> {
        let own = self.own()?;
        let source = &self.source;
        for option in self.options.given() {
            let sized = option == "size" && own.sized;
            let here = purpose.honours.contains(&option)
                || option.starts_with("codec=") && option != "codec=copy" && purpose.honours.contains(&"codec");
            let turned = own.turned && ["rotate", "mirror"].contains(&option);
            let used = sized || turned || here || own.honours.contains(&option);
            if OF_SOURCES.contains(&option) {
                ensure!(used, InvalidInput, "{source}: {option} does nothing for {}: leave it out", own.summary);
            }
            ensure!(used, InvalidInput, "{source}: {option} does nothing {}: leave it out", purpose.words);
            let copied = self.options.codec == CodecChoice::Copy
                && ["size", "quality", "bitrate", "deinterlace"].contains(&option);
            ensure!(
                sized || !copied,
                InvalidInput,
                "{source}: codec=copy codes nothing again: leave out {option}, or copy"
            );
            let of_jpeg = self.options.codec == CodecChoice::H264 && option == "quality";
            ensure!(!of_jpeg, InvalidInput, "{source}: quality is that of JPEGs: H.264 takes a bitrate");
        }
        Ok(())
    }
}

/// The options that a source honours by itself, or not.
const OF_SOURCES: &[&str] =
    &["fps", "format", "rotate", "mirror", "deinterlace", "loop", "wait", "once", "every", "codec=copy"];

impl Options {
    /// The names of the options that are set.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        let codec = match self.codec {
            CodecChoice::Auto => None,
            CodecChoice::Jpeg => Some("codec=jpeg"),
            CodecChoice::H264 => Some("codec=h264"),
            CodecChoice::Copy => Some("codec=copy"),
        };
        let set = [
            ("size", self.size.is_some()),
            ("fps", self.fps.is_some()),
            ("format", self.format.is_some()),
            ("rotate", self.quarters != 0),
            ("mirror", self.mirrored),
            ("deinterlace", self.deinterlaced),
            ("loop", self.looped),
            ("quality", self.quality.is_some()),
            ("bitrate", self.bitrate.is_some()),
            ("max-age", self.max_age.is_some()),
            ("max-frame", self.max_frame.is_some()),
            ("wait", self.wait),
            ("once", self.once),
            ("every", self.every),
        ];
        set.into_iter().filter_map(|(name, set)| set.then_some(name)).chain(codec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_honoured_or_an_error_that_names_it() {
        let uses = [
            Use::SENT,
            Use::SENT_AS_JPEG,
            Use::SENT_AS_PIXELS,
            Use::SERVED,
            Use::RECORDED,
            Use::READ_AS_JPEG,
            Use::READ,
            Use::SHOWN,
        ];
        let [sent, _, _, served, recorded, as_jpeg, read, shown] = uses;
        for (text, purpose, fault) in [
            ("fw://hub/door#wait#every#once#max-age=200", recorded, ""),
            ("fw://hub/door#deinterlace", recorded, "deinterlace does nothing for a stream of a hub"),
            ("film.mp4#deinterlace#codec=copy", recorded, "leave out deinterlace, or copy"),
            ("fw://hub/door#fps=5", recorded, "fps does nothing for a stream of a hub"),
            ("fw://hub/door#loop", shown, "loop"),
            ("fw://hub/door#size=64x48#bitrate=500k", recorded, ""),
            ("fw://hub/door#size=64x48", read, ""),
            ("fw://hub/door#size=64x48", shown, "size does nothing where frames are shown"),
            ("fw://hub/door#codec=copy", recorded, ""),
            ("film.mp4#loop#fps=5#codec=copy", read, ""),
            ("film.mp4#wait", sent, "wait does nothing for a video file"),
            ("film.mp4#codec=copy#size=64x48", sent, "leave out size"),
            ("film.mp4#codec=copy#quality=50", recorded, "leave out quality"),
            ("film.mp4#codec=h264", read, "codec=h264 does nothing where plain pixels"),
            ("film.mp4#quality=50", as_jpeg, ""),
            ("film.mp4#quality=50", read, "quality"),
            ("film.mp4#quality=50#codec=h264", served, "takes a bitrate"),
            ("film.mp4#max-age=100", served, "max-age"),
            ("film.mp4#format=mjpeg", sent, "format"),
            ("/dev/video0#size=64x48#fps=5#format=mjpeg#codec=copy", shown, ""),
            ("lhh://0.0.0.0:1234#max-age=100", shown, ""),
            ("lhh://0.0.0.0:1234#wait", shown, "wait does nothing for a tutorial's camera"),
            ("/dev/video0#loop", served, "loop"),
            ("pattern#size=64x48#fps=5", shown, ""),
            ("pattern#codec=copy", served, "codec=copy does nothing for"),
            ("screen#fps=5#wait", served, ""),
            ("-#fps=5", sent, ""),
            ("-#loop", sent, "loop"),
            ("rtsp://camera/1#loop#fps=5#wait#codec=copy", served, ""),
            ("rtsp://camera/1#every", recorded, "every"),
            ("pickle://camera:1#fps=5", shown, "fps"),
        ] {
            let outcome = text.parse::<Spec>().unwrap().check_options(purpose);
            match outcome {
                Ok(()) => assert_eq!(fault, "", "{text}: {purpose:?}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(
                        !fault.is_empty()
                            && error.contains(fault)
                            && error.starts_with(text.split('#').next().unwrap()),
                        "{text}: {error}"
                    );
                }
            }
        }
    }
}
