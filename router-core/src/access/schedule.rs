//! When a target may be used: windows of the week at one offset from UTC. The offset is fixed: where clocks change twice a
//! year, the windows do not follow.

use alloc::vec::Vec;

use wg_proto::UnixTime;

/// The most windows of a schedule.
pub const WINDOWS_MAX: usize = 64;
/// Minutes of a day.
pub const MINUTES_OF_DAY: u16 = 24 * 60;

const WEEK_MINUTES: u16 = 7 * MINUTES_OF_DAY;
const WEEK_SECS: i128 = WEEK_MINUTES as i128 * 60;
/// 1970-01-01 was a Thursday: seconds of its week that had passed when it began.
const EPOCH_OF_WEEK_SECS: i128 = 3 * 24 * 60 * 60;
/// The zone farthest from UTC is at +14:00.
const OFFSET_MINUTES_MAX: i16 = 14 * 60;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "days are days")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Some days of the week, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weekdays(u8);

/// A time of day on some days. One that ends before it starts ends on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    days: Weekdays,
    start_minute: u16,
    end_minute: u16,
}

/// When something may be used: in any of its windows, or always if it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    utc_offset_minutes: i16,
    windows: Vec<Window>,
    /// The same as minutes of the week: sorted, disjoint, with a gap between any two.
    open: Vec<Span>,
}

/// Minutes of the week, from Monday 00:00; the end is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: u16,
    end: u16,
}

/// Why a schedule is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A window on no day.
    #[error("a window is on at least one day")]
    NoDay,
    /// A window that starts when it ends.
    #[error("a window that starts when it ends is empty; a whole day is 00:00 to 24:00")]
    EmptyWindow,
    /// A start after 23:59 or an end after 24:00.
    #[error("a day has {MINUTES_OF_DAY} minutes")]
    NotInDay,
    /// More than [`WINDOWS_MAX`].
    #[error("a schedule has at most {WINDOWS_MAX} windows")]
    TooManyWindows,
    /// Farther from UTC than any zone is.
    #[error("an offset from UTC is at most {OFFSET_MINUTES_MAX} minutes")]
    OffsetTooFar,
}

impl Weekday {
    /// All of them, Monday first.
    pub const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
}

impl Weekdays {
    /// Every day.
    pub const ALL: Weekdays = Weekdays(0x7f);

    /// These days.
    pub fn new(days: impl IntoIterator<Item = Weekday>) -> Result<Weekdays, ScheduleError> {
        match days.into_iter().fold(0, |bits, day| bits | 1 << day as u8) {
            0 => Err(ScheduleError::NoDay),
            bits => Ok(Weekdays(bits)),
        }
    }

    /// Whether this day is one of them.
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & 1 << day as u8 != 0
    }

    /// The days, Monday first.
    pub fn iter(self) -> impl Iterator<Item = Weekday> {
        Weekday::ALL.into_iter().filter(move |day| self.contains(*day))
    }
}

impl Window {
    /// From `start_minute` to just before `end_minute` of each of the days; 1440 is midnight at a day's end.
    pub fn new(days: Weekdays, start_minute: u16, end_minute: u16) -> Result<Window, ScheduleError> {
        if start_minute >= MINUTES_OF_DAY || end_minute > MINUTES_OF_DAY {
            return Err(ScheduleError::NotInDay);
        }
        if start_minute == end_minute {
            return Err(ScheduleError::EmptyWindow);
        }
        Ok(Window { days, start_minute, end_minute })
    }

    /// The days on which it starts.
    pub fn days(&self) -> Weekdays {
        self.days
    }

    /// The minute of the day at which it starts.
    pub fn start_minute(&self) -> u16 {
        self.start_minute
    }

    /// The minute of the day at which it ends, of the next day if it is not after the start.
    pub fn end_minute(&self) -> u16 {
        self.end_minute
    }

    fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        let over_midnight = if self.end_minute < self.start_minute { MINUTES_OF_DAY } else { 0 };
        self.days.iter().flat_map(move |day| {
            let midnight = day as u16 * MINUTES_OF_DAY;
            let (start, end) = (midnight + self.start_minute, midnight + self.end_minute + over_midnight);
            let this_week = Span { start, end: end.min(WEEK_MINUTES) };
            let next_week = Span { start: 0, end: end.saturating_sub(WEEK_MINUTES) };
            [this_week, next_week].into_iter().filter(|span| span.start < span.end)
        })
    }
}

impl Schedule {
    /// Always.
    pub const ALWAYS: Schedule = Schedule { utc_offset_minutes: 0, windows: Vec::new(), open: Vec::new() };

    /// Whenever one of the windows is open where clocks show UTC plus the offset.
    pub fn new(utc_offset_minutes: i16, windows: Vec<Window>) -> Result<Schedule, ScheduleError> {
        if !(-OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX).contains(&utc_offset_minutes) {
            return Err(ScheduleError::OffsetTooFar);
        }
        if windows.len() > WINDOWS_MAX {
            return Err(ScheduleError::TooManyWindows);
        }
        let open = merged(windows.iter().flat_map(Window::spans).collect());
        Ok(Schedule { utc_offset_minutes, windows, open })
    }

    /// Minutes by which its clock is ahead of UTC.
    pub fn utc_offset_minutes(&self) -> i16 {
        self.utc_offset_minutes
    }

    /// Its windows as they were given; none: always.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Whether it is open at this moment.
    pub fn allows(&self, at: UnixTime) -> bool {
        self.is_always() || self.span_at(self.minute_of_week(at)).is_some()
    }

    /// When it closes next: `at` itself if it is closed, `None` if it never closes.
    pub fn closes_at(&self, at: UnixTime) -> Option<UnixTime> {
        if self.is_always() {
            return None;
        }
        let Some(span) = self.span_at(self.minute_of_week(at)) else { return Some(at) };
        let into_next_week = self.open.first().filter(|first| span.end == WEEK_MINUTES && first.start == 0);
        let end = span.end + into_next_week.map_or(0, |first| first.end);
        Some(self.moment(at, end))
    }

    /// When it opens next: `at` itself if it is open.
    pub fn opens_at(&self, at: UnixTime) -> UnixTime {
        if self.allows(at) {
            return at;
        }
        let minute = self.minute_of_week(at);
        let this_week = self.open.iter().map(|span| span.start).find(|start| *start > minute);
        let next_week = self.open.first().map_or(0, |first| first.start + WEEK_MINUTES);
        self.moment(at, this_week.unwrap_or(next_week))
    }

    fn is_always(&self) -> bool {
        self.windows.is_empty() || self.open == [Span { start: 0, end: WEEK_MINUTES }]
    }

    fn span_at(&self, minute: u16) -> Option<Span> {
        self.open.iter().copied().find(|span| span.start <= minute && minute < span.end)
    }

    fn second_of_week(&self, at: UnixTime) -> i128 {
        let local = i128::from(at.secs) + i128::from(self.utc_offset_minutes) * 60;
        (local + EPOCH_OF_WEEK_SECS).rem_euclid(WEEK_SECS)
    }

    fn minute_of_week(&self, at: UnixTime) -> u16 {
        u16::try_from(self.second_of_week(at) / 60).expect("a week has 10080 minutes")
    }

    /// The moment at which the week of `at` has had so many minutes.
    fn moment(&self, at: UnixTime, minute: u16) -> UnixTime {
        let secs = i128::from(at.secs) - self.second_of_week(at) + i128::from(minute) * 60;
        UnixTime::new(u64::try_from(secs.max(0)).unwrap_or(u64::MAX), 0)
    }
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule::ALWAYS
    }
}

fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut().filter(|last| span.start <= last.end) {
            Some(last) => last.end = last.end.max(span.end),
            None => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    const MONDAY: u64 = 4 * 86_400;
    const HOUR: u16 = 60;

    fn at(day: u64, hour: u64, minute: u64) -> UnixTime {
        UnixTime::new(MONDAY + day * 86_400 + hour * 3600 + minute * 60, 0)
    }

    fn window(days: &[Weekday], start: u16, end: u16) -> Window {
        Window::new(Weekdays::new(days.iter().copied()).unwrap(), start, end).unwrap()
    }

    fn office() -> Schedule {
        let days =
            [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
        Schedule::new(0, vec![window(&days, 9 * HOUR, 17 * HOUR)]).unwrap()
    }

    #[test]
    fn without_windows_it_is_always_open() {
        assert!(Schedule::ALWAYS.allows(at(0, 3, 0)));
        assert_eq!(Schedule::ALWAYS.closes_at(at(0, 3, 0)), None);
        assert_eq!(Schedule::default().opens_at(at(0, 3, 0)), at(0, 3, 0));
    }

    #[test]
    fn a_window_starts_with_its_first_second_and_ends_before_its_last() {
        let office = office();
        for (moment, open) in [
            (at(0, 8, 59), false),
            (at(0, 9, 0), true),
            (at(4, 16, 59), true),
            (at(4, 17, 0), false),
            (at(5, 12, 0), false),
        ] {
            assert_eq!(office.allows(moment), open, "{moment:?}");
        }
        let last = UnixTime::new(at(0, 17, 0).secs - 1, 999_999_999);
        assert!(office.allows(last));
        assert_eq!(office.closes_at(last), Some(at(0, 17, 0)));
    }

    #[test]
    fn closed_it_says_when_it_opens_next() {
        let office = office();
        assert_eq!(office.opens_at(at(0, 6, 0)), at(0, 9, 0));
        assert_eq!(office.opens_at(at(0, 17, 0)), at(1, 9, 0));
        assert_eq!(office.opens_at(at(4, 18, 0)), at(7, 9, 0));
        assert_eq!(office.opens_at(at(1, 10, 0)), at(1, 10, 0));
        assert_eq!(office.closes_at(at(5, 12, 0)), Some(at(5, 12, 0)));
    }

    #[test]
    fn windows_that_touch_are_one_across_midnight_and_across_the_week() {
        let nights =
            Schedule::new(0, vec![window(&[Weekday::Sunday, Weekday::Monday], 22 * HOUR, 6 * HOUR)]).unwrap();
        assert_eq!(nights.closes_at(at(6, 23, 0)), Some(at(7, 6, 0)));
        assert_eq!(nights.closes_at(at(0, 1, 0)), Some(at(0, 6, 0)));
        assert_eq!(nights.closes_at(at(0, 23, 0)), Some(at(1, 6, 0)));
        let days = [Weekday::Monday, Weekday::Tuesday];
        let whole = Schedule::new(0, vec![window(&days, 0, MINUTES_OF_DAY)]).unwrap();
        assert_eq!(whole.closes_at(at(0, 12, 0)), Some(at(2, 0, 0)));
        let always = Schedule::new(0, vec![Window::new(Weekdays::ALL, 0, MINUTES_OF_DAY).unwrap()]).unwrap();
        assert_eq!(always.closes_at(at(0, 12, 0)), None);
    }

    #[test]
    fn an_offset_moves_the_windows() {
        let monday = vec![window(&[Weekday::Monday], 0, HOUR)];
        let east = Schedule::new(120, monday.clone()).unwrap();
        assert!(east.allows(at(6, 22, 0)) && !east.allows(at(0, 0, 0)));
        let west = Schedule::new(-300, monday).unwrap();
        assert!(west.allows(at(0, 5, 0)) && !west.allows(at(0, 0, 0)));
        assert_eq!((west.utc_offset_minutes(), west.windows().len()), (-300, 1));
    }

    #[test]
    fn windows_and_schedules_are_legal_by_birth() {
        assert_eq!(Weekdays::new([]), Err(ScheduleError::NoDay));
        for (start, end, error) in [
            (1440, 10, ScheduleError::NotInDay),
            (0, 1441, ScheduleError::NotInDay),
            (60, 60, ScheduleError::EmptyWindow),
        ] {
            assert_eq!(Window::new(Weekdays::ALL, start, end), Err(error));
        }
        let one = Window::new(Weekdays::ALL, 1, 2).unwrap();
        assert_eq!((one.start_minute(), one.end_minute(), one.days()), (1, 2, Weekdays::ALL));
        assert_eq!(Schedule::new(0, vec![one; WINDOWS_MAX + 1]), Err(ScheduleError::TooManyWindows));
        assert_eq!(Schedule::new(841, Vec::new()), Err(ScheduleError::OffsetTooFar));
        assert_eq!(Schedule::new(-841, Vec::new()), Err(ScheduleError::OffsetTooFar));
    }

    #[test]
    fn at_the_ends_of_time_nothing_overflows() {
        for moment in [UnixTime::new(0, 0), UnixTime::new(u64::MAX, 0)] {
            let office = office();
            assert!(office.closes_at(moment).is_some());
            assert!(office.opens_at(moment) >= moment);
        }
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        let window = (1..0x80_u8, 0..24_u16, 0..=24_u16)
            .prop_filter_map("not empty", |(days, start, end)| {
                Window::new(Weekdays(days), start * HOUR, end * HOUR).ok()
            });
        (-14..=14_i16, prop::collection::vec(window, 0..5))
            .prop_map(|(hours, windows)| Schedule::new(hours * 60, windows).unwrap())
    }

    /// The slow twin: look at each window of the day and of the day before.
    fn slow_allows(schedule: &Schedule, at: UnixTime) -> bool {
        let local = at.secs as i64 + i64::from(schedule.utc_offset_minutes) * 60;
        let (day, minute) = ((local / 86_400 + 3) % 7, (local % 86_400) / 60);
        let is_on = |window: &Window, day: i64| window.days.contains(Weekday::ALL[day as usize]);
        schedule.windows.is_empty()
            || schedule.windows.iter().any(|window| {
                let (start, end) = (i64::from(window.start_minute), i64::from(window.end_minute));
                if start < end {
                    is_on(window, day) && (start..end).contains(&minute)
                } else {
                    is_on(window, day) && minute >= start || is_on(window, (day + 6) % 7) && minute < end
                }
            })
    }

    proptest! {
        #[test]
        fn it_is_open_when_a_window_is_and_until_it_says_so(
            schedule in schedules(), hours in 200..600_u64, half in 0..2_u64
        ) {
            let moment = UnixTime::new(hours * 3600 + half * 1800, 0);
            prop_assert_eq!(schedule.allows(moment), slow_allows(&schedule, moment));
            let later = |hours: u64| UnixTime::new(moment.secs / 3600 * 3600 + hours * 3600, 0);
            let closes = (1..400).map(later).find(|later| !slow_allows(&schedule, *later));
            let opens = (1..400).map(later).find(|later| slow_allows(&schedule, *later));
            if schedule.allows(moment) {
                prop_assert_eq!(schedule.closes_at(moment), closes);
                prop_assert_eq!(schedule.opens_at(moment), moment);
            } else {
                prop_assert_eq!(schedule.closes_at(moment), Some(moment));
                prop_assert_eq!(Some(schedule.opens_at(moment)), opens);
            }
        }
    }
}
