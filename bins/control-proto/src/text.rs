//! Bounded text, for people. Legal by birth: short, and without control characters, so that it can go into logs and terminals.

use std::fmt;

use serde::{Deserialize, Serialize};

/// At most `MAX` bytes without control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MAX: usize>(String);

/// What things are called.
pub type Name = Text<128>;
/// Why something is so.
pub type Reason = Text<500>;

/// Why something is no [`Text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Longer than it may be.
    #[error("a text of {bytes} bytes; at most {max} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// It has control characters.
    #[error("a text with control characters")]
    Control,
}

impl<const MAX: usize> Text<MAX> {
    /// This text.
    ///
    /// # Errors
    /// If it is too long, or has control characters.
    pub fn new(text: impl Into<String>) -> Result<Text<MAX>, NotText> {
        let text = text.into();
        if text.len() > MAX {
            Err(NotText::TooLong { bytes: text.len(), max: MAX })
        } else if text.chars().any(char::is_control) {
            Err(NotText::Control)
        } else {
            Ok(Text(text))
        }
    }

    /// As much of it as fits, spaces in place of control characters.
    pub fn cut(text: impl fmt::Display) -> Text<MAX> {
        let text = text.to_string();
        let fits = text.char_indices().take_while(|(at, char)| at + char.len_utf8() <= MAX);
        Text(fits.map(|(_, char)| if char.is_control() { ' ' } else { char }).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = NotText;

    fn try_from(text: String) -> Result<Text<MAX>, NotText> {
        Text::new(text)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_short_and_printable_by_birth() {
        assert_eq!(Text::<3>::new("häm"), Err(NotText::TooLong { bytes: 4, max: 3 }));
        assert_eq!(Text::<3>::new("a\nb"), Err(NotText::Control));
        assert_eq!(Text::<3>::new("hä").unwrap().as_str(), "hä");
    }

    #[test]
    fn what_does_not_fit_is_cut_between_characters() {
        assert_eq!(Text::<3>::cut("aaä").as_str(), "aa");
        assert_eq!(Text::<3>::cut("ää").as_str(), "ä");
        assert_eq!(Text::<9>::cut("a\r\nb").as_str(), "a  b");
    }
}
