//! The name of a stream.

use std::{fmt, str::FromStr};

use crate::limits;

/// A stream's name: 1 to 64 bytes of letters, digits and `-_.:@`, not starting with a dot. So it is safe in a URL's path,
/// a file name and HTML.
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

    /// Makes a valid name from any text: each character that is not allowed becomes `-`, and a long text is cut.
    pub fn from_lossy(text: &str) -> Self {
        let mut name = String::new();
        for letter in text.chars().map(|letter| if is_allowed(letter) { letter } else { '-' }) {
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
        if text.len() > limits::NAME {
            return Err(InvalidName(format!(
                "a stream's name of {} bytes is over the limit of {}",
                text.len(),
                limits::NAME
            )));
        }
        if let Some(letter) = text.chars().find(|letter| !is_allowed(*letter)) {
            let shown = letter.escape_default();
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

fn is_allowed(letter: char) -> bool {
    letter.is_alphanumeric() || "-_.:@".contains(letter)
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
    fn any_text_becomes_a_valid_name() {
        for text in ["", ".", "a/b", "über/\u{0}", &"ß".repeat(99)] {
            let name = Name::from_lossy(text);
            assert_eq!(name.as_str().parse::<Name>().as_ref(), Ok(&name));
        }
        assert_eq!(Name::from_lossy("my host").as_str(), "my-host");
    }
}
