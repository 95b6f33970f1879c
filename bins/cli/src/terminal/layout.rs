//! How text fits into lines. Pure. Every character of ours takes one column.

use std::time::Duration;

/// Before the columns of a step: two blanks, its mark, another blank.
const MARGIN: usize = 4;
/// From here on a step's outcome stands beside it, not below.
const WIDE: usize = 72;
/// What a step is, where its outcome stands beside it.
const WHAT: usize = 25;
/// `123.4 ms`
const TIME: usize = 8;

/// The columns of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    width: usize,
}

impl Columns {
    /// Those of a terminal with lines of `width` characters.
    pub(super) fn of(width: usize) -> Self {
        Self { width: width.saturating_sub(MARGIN) }
    }

    /// The first line of a step, and those below it.
    pub(super) fn fill(self, what: &str, outcome: &str, time: &str) -> (String, Vec<String>) {
        if self.width + MARGIN < WIDE {
            return self.below(what, outcome, time);
        }
        let room = self.width - WHAT - 1 - TIME - 1;
        let mut outcomes = wrap(outcome, room).into_iter();
        let (first, rest) = if what.chars().count() <= WHAT {
            let outcome = outcomes.next().unwrap_or_default();
            (format!("{what:<WHAT$} {outcome:<room$} {time:>TIME$}"), Vec::new())
        } else {
            let mut lines = wrap(what, self.width - TIME - 1).into_iter();
            let first = lines.next().unwrap_or_default();
            let room = self.width - TIME - 1;
            (format!("{first:<room$} {time:>TIME$}"), lines.collect())
        };
        let outcomes = outcomes.map(|line| format!("{:WHAT$} {line}", ""));
        (first.trim_end().to_owned(), rest.into_iter().chain(outcomes).collect())
    }

    fn below(self, what: &str, outcome: &str, time: &str) -> (String, Vec<String>) {
        let room = self.width.saturating_sub(TIME + 1);
        let mut lines = wrap(what, room).into_iter();
        let first = lines.next().unwrap_or_default();
        let outcomes =
            wrap(outcome, self.width.saturating_sub(2)).into_iter().map(|line| format!("  {line}"));
        (format!("{first:<room$} {time:>TIME$}").trim_end().to_owned(), lines.chain(outcomes).collect())
    }
}

/// Lines of at most `width` characters, broken at blanks. A longer word keeps a line of its own: it may be a path.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `0.4 ms`, `12 ms`, `1.3 s`
pub(crate) fn duration(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

/// Spelled without what is beyond ASCII.
pub(super) fn ascii(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '→' => spelled.push_str("->"),
            '═' => spelled.push('='),
            '─' => spelled.push('-'),
            '│' | '║' => spelled.push('|'),
            '…' => spelled.push_str("..."),
            ' '..='~' => spelled.push(letter),
            _ => spelled.push('?'),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_blanks_and_long_words_stay_whole() {
        for (text, width, expected) in [
            ("one two three", 8, vec!["one two", "three"]),
            ("one two", 7, vec!["one two"]),
            ("a /very/long/path b", 6, vec!["a", "/very/long/path", "b"]),
            ("  ", 8, vec![]),
        ] {
            assert_eq!(wrap(text, width), expected, "{text:?}");
        }
    }

    #[test]
    fn no_line_of_a_step_is_wider_than_the_terminal() {
        let outcome = "the page says hello from a device that the client has no route to";
        for width in [36, 50, 71, 72, 80, 100] {
            for what in ["fetch the page", "a step that has a rather long name, longer than its column"] {
                let (first, rest) = Columns::of(width).fill(what, outcome, "123.4 ms");
                for line in [first].iter().chain(&rest) {
                    assert!(line.chars().count() + MARGIN <= width, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn a_wide_terminal_has_the_outcome_beside_and_a_narrow_one_below() {
        let wide = Columns::of(80).fill("fetch", "done", "1.0 ms");
        assert_eq!(wide, (format!("{:<25} {:<41} {:>8}", "fetch", "done", "1.0 ms"), vec![]));
        let narrow = Columns::of(40).fill("fetch", "done", "1.0 ms");
        assert_eq!(narrow, (format!("{:<27} {:>8}", "fetch", "1.0 ms"), vec!["  done".to_owned()]));
    }

    #[test]
    fn durations_have_two_or_three_digits() {
        for (micros, text) in
            [(0, "0.0 ms"), (440, "0.4 ms"), (9_949, "9.9 ms"), (12_300, "12 ms"), (1_340_000, "1.3 s")]
        {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn plain_text_is_ascii() {
        assert_eq!(ascii("a ══ b → c…"), "a == b -> c...");
        assert!(ascii("ü").is_ascii());
    }
}
