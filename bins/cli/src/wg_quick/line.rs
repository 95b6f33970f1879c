//! Lines of the file, before anybody looks at their meaning.

use sluice_runtime::host::config::Place;

/// The longest key there is has 19 letters.
const KEY_BYTES_MAX: usize = 24;

/// A line that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    pub(super) content: Content<'a>,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// `[Name]`
    Section(&'a str),
    /// `Key = Value`
    Setting { key: &'a str, value: &'a str },
    /// Something else. It may be half a secret, so it is not repeated.
    Neither,
}

impl Line<'_> {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        Place::file().field(&format!("line {}", self.number))
    }
}

/// The lines of `text` but for those that are empty or all comment.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    // Editors of some systems begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let spoken = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let numbered = spoken.enumerate().filter(|(_, line)| !line.is_empty());
    numbered.map(|(index, line)| Line { number: index + 1, content: content(line) })
}

fn content(line: &str) -> Content<'_> {
    if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
        return Content::Section(name.trim());
    }
    // Base64 ends with the same character, so the first one counts.
    match line.split_once('=') {
        Some((key, value)) if is_word(key.trim()) => {
            Content::Setting { key: key.trim(), value: value.trim() }
        }
        Some(_) | None => Content::Neither,
    }
}

/// A secret that lost its key is no word: it is longer.
fn is_word(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blanks_are_skipped_and_lines_keep_their_numbers() {
        let text = "\u{feff}# head\n\n [ Interface ] # ours\r\nPrivateKey=abc=\n what\n = 7\n";
        let read: Vec<_> = lines(text).map(|line| (line.number, line.content)).collect();
        assert_eq!(
            read,
            [
                (3, Content::Section("Interface")),
                (4, Content::Setting { key: "PrivateKey", value: "abc=" }),
                (5, Content::Neither),
                (6, Content::Neither),
            ]
        );
    }
}
