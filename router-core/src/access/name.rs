//! Text that people write and that ends in consoles and logs: names of objects, reasons of requests. P23.
//!
//! A name that looks like another, or turns a line of a log around, is an attack on whoever reads it. So neither has control
//! characters or changes of writing direction, and a name has nothing invisible in it.

use alloc::boxed::Box;
use core::fmt;

/// The longest name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest reason, in bytes of UTF-8.
pub const REASON_BYTES_MAX: usize = 500;

/// What an object is called by people.
///
/// 1 to [`NAME_BYTES_MAX`] bytes, all visible or a space between; no `/`, which separates a connector from an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why somebody asks for access, in their own words: 1 to [`REASON_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason(Box<str>);

/// Which rule a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is there.
    #[error("a name has at least one character")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A character that one does not see.
    #[error("a name consists of visible characters: U+{:04X} is none", u32::from(*character))]
    Invisible {
        /// The first one.
        character: char,
    },
    /// A `/`.
    #[error("a name has no \"/\": that separates a connector from an address")]
    Slash,
    /// A space at an end.
    #[error("a name neither starts nor ends with a space")]
    OuterSpace,
}

/// Which rule a reason breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReasonError {
    /// Nothing but spaces.
    #[error("a reason says something")]
    Empty,
    /// Longer than [`REASON_BYTES_MAX`].
    #[error("a reason has at most {REASON_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A control character, or a change of writing direction.
    #[error("a reason is one line of plain text: U+{:04X} is none", u32::from(*character))]
    Control {
        /// The first one.
        character: char,
    },
}

impl Name {
    /// The name that reads `text`.
    pub fn new(text: &str) -> Result<Name, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|character| !is_visible(*character) && *character != ' ') {
            return Err(NameError::Invisible { character });
        }
        if text.contains('/') {
            return Err(NameError::Slash);
        }
        if text.starts_with(' ') || text.ends_with(' ') {
            return Err(NameError::OuterSpace);
        }
        Ok(Name(text.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reason {
    /// The reason that reads `text`.
    pub fn new(text: &str) -> Result<Reason, ReasonError> {
        if text.trim().is_empty() {
            return Err(ReasonError::Empty);
        }
        if text.len() > REASON_BYTES_MAX {
            return Err(ReasonError::TooLong { bytes: text.len() });
        }
        match text.chars().find(|character| character.is_control() || turns_text(*character)) {
            Some(character) => Err(ReasonError::Control { character }),
            None => Ok(Reason(text.into())),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_visible(character: char) -> bool {
    !character.is_control() && !character.is_whitespace() && !turns_text(character) && !is_hidden(character)
}

/// Changes the direction or the line of what follows: UAX #9 embeddings, overrides and isolates; separators.
fn turns_text(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Takes no room: joiners, soft hyphens, fillers, variation selectors, tags.
fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\u{00ad}'
            | '\u{034f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_name_says_which_rule_it_breaks() {
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for (text, error) in [
            ("", NameError::Empty),
            (&*long, NameError::TooLong { bytes: NAME_BYTES_MAX + 1 }),
            ("a\nb", NameError::Invisible { character: '\n' }),
            ("a\u{a0}b", NameError::Invisible { character: '\u{a0}' }),
            ("a\u{202e}b", NameError::Invisible { character: '\u{202e}' }),
            ("a\u{200b}b", NameError::Invisible { character: '\u{200b}' }),
            ("site/10.0.0.1", NameError::Slash),
            (" a", NameError::OuterSpace),
            ("a ", NameError::OuterSpace),
            (" ", NameError::OuterSpace),
        ] {
            assert_eq!(Name::new(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn names_of_any_script_are_names() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        for text in ["db", "Database 1 (main)", "Gehäuse-ÄÖ", "数据库", "база", &*longest] {
            assert_eq!(Name::new(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_reason_is_one_line_that_says_something() {
        let long = "r".repeat(REASON_BYTES_MAX + 1);
        for (text, error) in [
            ("", ReasonError::Empty),
            ("   ", ReasonError::Empty),
            (&*long, ReasonError::TooLong { bytes: REASON_BYTES_MAX + 1 }),
            ("one\ntwo", ReasonError::Control { character: '\n' }),
            ("\u{1b}[2J", ReasonError::Control { character: '\u{1b}' }),
            ("ok \u{202e}ko", ReasonError::Control { character: '\u{202e}' }),
        ] {
            assert_eq!(Reason::new(text), Err(error), "{text:?}");
        }
        let reason = Reason::new("ticket 4711: disk / full\u{a0}– 🧑\u{200d}🔧").unwrap();
        assert_eq!(reason.to_string(), reason.as_str());
    }
}
