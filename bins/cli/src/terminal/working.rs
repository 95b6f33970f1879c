//! A line that moves while something is going on, and is gone afterwards.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const STEP: Duration = Duration::from_millis(80);

/// Moves until dropped.
#[derive(Debug)]
pub(crate) struct Working(Option<ProgressBar>);

impl Working {
    /// Shows what is going on.
    pub(super) fn shown(what: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner:.cyan} {wide_msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(STEP);
        Self(Some(bar))
    }

    /// Shows nothing.
    pub(super) fn hidden() -> Self {
        Self(None)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
