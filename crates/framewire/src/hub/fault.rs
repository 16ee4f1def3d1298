//! Why a stream gives no picture: the last fault of its source.

use std::sync::Arc;

use framewire_proto::Micros;

use crate::secret;

/// The most bytes of a fault's text.
const LENGTH: usize = 200;

/// A fault, in a sentence for viewers.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) text: Arc<str>,
    pub(super) since: Micros,
}

impl Fault {
    /// A fault with this text, which may come from elsewhere: without secrets and control characters, and not too long.
    pub(super) fn new(text: &str, since: Micros) -> Self {
        let mut text: String =
            secret::mask(text).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        if text.len() > LENGTH {
            let end = (0..=LENGTH - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        Self { text: text.into(), since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_elsewhere_is_cleaned_and_cut() {
        let text = |text: &str| Fault::new(text, 0).text.to_string();
        assert_eq!(text("rtsp://u:p@h/x: \u{1b}[31mgone\n"), "rtsp://u:***@h/x:  [31mgone ");
        assert_eq!(text(&"a".repeat(LENGTH)), "a".repeat(LENGTH));
        for letter in ["a", "\u{e4}", "\u{20ac}", "\u{1f4f7}"] {
            let cut = text(&letter.repeat(LENGTH + 1));
            assert!(cut.len() <= LENGTH && cut.len() > LENGTH - 8 && cut.ends_with('…'), "{cut}");
        }
    }
}
