//! Pieces that many pages are made of. Each writes its own HTML and escapes what is in it, so that no template needs to
//! leave anything unescaped.

use std::fmt;

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::{SignedDuration, Timestamp};
use sluice_api::{SessionState, SessionView};

/// A picture beside words. 16 by 16, in the colour of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    Door,
    Laptop,
    Pulse,
    Map,
    Hand,
    Scroll,
    Target,
    Plug,
    Swap,
    Router,
    People,
    Key,
    Building,
    Question,
    Heart,
}

impl Icon {
    fn strokes(self) -> &'static str {
        match self {
            Icon::Door => "M3 14h10M5 14V2h6v12M9 8h.01",
            Icon::Laptop => "M3 11V3h10v8M1.5 13.5h13L13 11H3z",
            Icon::Pulse => "M1 8h3l2-5 3.5 10L12 8h3",
            Icon::Map => "M5.5 2.5 1.5 4v9.5l4-1.5 5 2 4-1.5V3l-4 1.5zM5.5 2.5V12M10.5 4.5V14",
            Icon::Hand => "M2.5 8.5 6 12l7.5-8",
            Icon::Scroll => "M4 2h8v12H4zM6.5 5h3M6.5 8h3M6.5 11h2",
            Icon::Target => {
                "M14.5 8a6.5 6.5 0 1 1-13 0 6.5 6.5 0 0 1 13 0zM11 8a3 3 0 1 1-6 0 3 3 0 0 1 6 0z"
            }
            Icon::Plug => "M5 1.5V5M11 1.5V5M3.5 5h9v2.5a4.5 4.5 0 0 1-9 0zM8 12v2.5",
            Icon::Swap => "M2 5.5h11L10 2.5M14 10.5H3l3 3",
            Icon::Router => "M2 9.5h12v4H2zM5 11.5h.01M8 6.5V9.5M4.5 5a5 5 0 0 1 7 0M2.5 3a8 8 0 0 1 11 0",
            Icon::People => {
                "M6 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5a4.5 4.5 0 0 1 9 0M11 3.2a2.5 2.5 0 0 1 0 4.6M12 9.4a4.5 4.5 0 0 1 2.5 4.1"
            }
            Icon::Key => "M6.5 9.5a3 3 0 1 1-4.2 4.2 3 3 0 0 1 4.2-4.2L13.5 2.500M10.500 5.500l2.500 2.500",
            Icon::Building => "M3 14V2h7v12M10 6h3v8M1.5 14h13M5.500 5h2M5.500 8h2M5.500 11h2",
            Icon::Question => {
                "M14.5 8a6.5 6.5 0 1 1-13 0 6.5 6.5 0 0 1 13 0zM6 6.200a2 2 0 1 1 2.700 1.900c-.5.2-.7.500-.7 1.200M8 11.500h.01"
            }
            Icon::Heart => {
                "M8 13.500 2.700 8.300a3.300 3.300 0 0 1 4.700-4.700L8 4.200l.6-.6a3.300 3.300 0 0 1 4.700 4.700z"
            }
        }
    }
}

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<svg class=\"icon\" viewBox=\"0 0 16 16\" width=\"16\" height=\"16\" aria-hidden=\"true\"><path d=\"{}\"/></svg>",
            self.strokes()
        )
    }
}

impl HtmlSafe for Icon {}

/// A moment: in UTC where there is no script, in the reader's own time with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    at: Timestamp,
    look: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Date,
    Ago,
    Left,
}

impl Moment {
    /// Date and time.
    pub(crate) fn at(at: Timestamp) -> Moment {
        Moment { at, look: Look::Date }
    }

    /// How long ago it was.
    pub(crate) fn ago(at: Timestamp) -> Moment {
        Moment { at, look: Look::Ago }
    }

    /// How long it is until then, counting down.
    pub(crate) fn left(at: Timestamp) -> Moment {
        Moment { at, look: Look::Left }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = self.at.strftime("%Y-%m-%d %H:%M");
        let iso = self.at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let between = self.at.duration_since(Timestamp::now());
        match self.look {
            Look::Date => write!(f, "<time datetime=\"{iso}\" data-look=\"date\">{utc} UTC</time>"),
            Look::Ago => write!(
                f,
                "<time datetime=\"{iso}\" data-look=\"ago\" title=\"{utc} UTC\">{} ago</time>",
                span(-between)
            ),
            Look::Left => write!(
                f,
                "<time datetime=\"{iso}\" data-look=\"left\" title=\"{utc} UTC\">{} left</time>",
                span(between)
            ),
        }
    }
}

impl HtmlSafe for Moment {}

/// `2 h 5 min`; what is over is nothing.
pub(crate) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 if seconds / 60 % 60 == 0 => format!("{} h", seconds / 3600),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `12.3 MB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut scaled = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if scaled < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{scaled:.1} {unit}") };
        }
        scaled /= 1000.0;
    }
    format!("{scaled:.1} TB")
}

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Busy,
    Bad,
    Quiet,
}

/// A word with a tone. The tone never stands alone: the word says it too.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(source = "<span class=\"badge {{ self.class() }}\">{{ word }}</span>", ext = "html")]
pub(crate) struct Badge {
    tone: Tone,
    word: String,
}

impl HtmlSafe for Badge {}

impl Badge {
    pub(crate) fn new(tone: Tone, word: impl Into<String>) -> Badge {
        Badge { tone, word: word.into() }
    }

    /// How far a session is.
    pub(crate) fn of(session: &SessionView) -> Badge {
        match session.state {
            SessionState::Pending => Badge::new(Tone::Busy, "opening"),
            SessionState::Active => Badge::new(Tone::Good, "open"),
            SessionState::Closing => Badge::new(Tone::Busy, "closing"),
            SessionState::Closed => Badge::new(Tone::Quiet, "closed"),
        }
    }

    fn class(&self) -> &'static str {
        match self.tone {
            Tone::Good => "good",
            Tone::Busy => "busy",
            Tone::Bad => "bad",
            Tone::Quiet => "quiet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_said_as_people_say_them() {
        for (count, said) in [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (12_345_678, "12.3 MB")] {
            assert_eq!(bytes(count), said);
        }
        for (seconds, said) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3600, "1 h"),
            (5400, "1 h 30 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), said);
        }
    }

    #[test]
    fn a_badge_escapes_its_word() {
        let text = Badge::new(Tone::Bad, "<script>").to_string();
        assert!(!text.contains("<script>") && text.contains("&#60;script&#62;"), "{text}");
    }
}
