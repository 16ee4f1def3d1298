//! The name of a stream.

use std::{borrow::Cow, fmt, iter::once, str::FromStr};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark, is_nfc};

use crate::limits;

/// A stream's name: 1 to 64 bytes of letters of any script with their marks, digits and `-_.:@`, not starting with a dot. So it is safe in
/// a URL's path, a file name and HTML. A name is the same in each of Unicode's normal forms; it is kept in NFC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a text is not a valid stream name, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text in NFC, in which names are kept and compared.
    pub fn normal(text: &str) -> Cow<'_, str> {
        if is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
    }

    /// Makes a valid name from any text: each character that is not allowed becomes `-`, and a long text is cut.
    pub fn from_lossy(text: &str) -> Self {
        let mut name = String::new();
        for letter in Self::normal(text).chars() {
            let letter = if is_allowed(letter, name.chars().next_back()) { letter } else { '-' };
            if name.len() + letter.len_utf8() > limits::NAME {
                break;
            }
            name.push(if name.is_empty() && letter == '.' { '-' } else { letter });
        }
        if name.is_empty() {
            name.push_str("stream");
        }
        Self(name)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName("a stream's name is empty".into()));
        }
        let text = &*Self::normal(text);
        if text.len() > limits::NAME {
            return Err(InvalidName(format!(
                "a stream's name of {} bytes is over the limit of {}",
                text.len(),
                limits::NAME
            )));
        }
        let before = once(None).chain(text.chars().map(Some));
        if let Some((letter, _)) = text.chars().zip(before).find(|(letter, before)| !is_allowed(*letter, *before)) {
            let shown = shown(letter);
            return Err(InvalidName(format!(
                "'{shown}' is not allowed in a stream's name: use letters, digits and - _ . : @"
            )));
        }
        if text.starts_with('.') {
            return Err(InvalidName("a stream's name must not start with a dot".into()));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether a character may stand behind this one. Many scripts write marks behind their letters, as some vowels of Hindi and tones
/// of Thai.
fn is_allowed(letter: char, before: Option<char>) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || is_combining_mark(letter);
    letter.is_alphanumeric() || "-_.:@".contains(letter) || is_combining_mark(letter) && before.is_some_and(is_word)
}

/// A character as it is written, where that can be seen.
fn shown(letter: char) -> String {
    let unseen = letter.is_control() || (letter.is_whitespace() && letter != ' ') || is_combining_mark(letter);
    if unseen || is_format(letter) { letter.escape_default().to_string() } else { letter.into() }
}

/// Whether a character changes how others are written and is not seen itself (some of Unicode's category Cf).
fn is_format(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_name_is_refused_with_its_fault() {
        assert_eq!("front-door".parse::<Name>().unwrap().as_str(), "front-door");
        assert!("Straße_2".parse::<Name>().is_ok());
        for (text, fault) in [("", "empty"), ("a/b", "'/'"), ("a\nb", "'\\n'"), ("..", "dot"), ("a b", "' '")] {
            let message = text.parse::<Name>().unwrap_err().to_string();
            assert!(message.contains(fault), "{text:?}: {message}");
        }
        assert!("x".repeat(65).parse::<Name>().is_err());
    }

    #[test]
    fn names_of_any_script_are_taken_in_any_normal_form() {
        let (composed, decomposed) = ("T\u{fc}r", "Tu\u{308}r");
        assert_eq!(decomposed.parse::<Name>().unwrap().as_str(), composed);
        assert_eq!(Name::from_lossy(decomposed).as_str(), composed);
        for name in ["हिन्दी", "กล้อง", "камера", "摄像机", "كاميرا", "Ђорђе", "카메라"]
        {
            assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        }
        // Only as many bytes count as are kept.
        assert!("u\u{308}".repeat(32).parse::<Name>().is_ok());
        assert!("u\u{308}".repeat(33).parse::<Name>().unwrap_err().to_string().contains("66 bytes"));
        for (text, fault) in
            [("\u{308}r", "'\\u{308}'"), ("a–b", "'–'"), ("a😀", "'😀'"), ("a\u{202e}b", "'\\u{202e}'")]
        {
            let message = text.parse::<Name>().unwrap_err().to_string();
            assert!(message.contains(fault), "{text:?}: {message}");
        }
    }

    #[test]
    fn any_text_becomes_a_valid_name() {
        for text in ["", ".", "a/b", "über/\u{0}", &"ß".repeat(99)] {
            let name = Name::from_lossy(text);
            assert_eq!(name.as_str().parse::<Name>().as_ref(), Ok(&name));
        }
        assert_eq!(Name::from_lossy("my host").as_str(), "my-host");
    }
}
