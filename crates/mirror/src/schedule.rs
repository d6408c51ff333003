//! When something is to be done again: a fixed interval, or the five fields of crontab(5).

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::civil::{Date, time};
use jiff::{ToSpan, Zoned};

/// A schedule that never comes is given up after so many days.
const HORIZON_DAYS: i32 = 366 * 9;

/// `every 10m`, `0 3 * * *` or `@daily`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Every(Duration),
    Cron(Cron),
}

/// A bit for each value that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Neither of the two day fields is `*`: a day that matches one of them will do.
    either_day: bool,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no schedule: give \"every 30m\" (s, m, h or d), five fields as in crontab, or @hourly, @daily, @weekly, @monthly"
)]
pub struct BadSchedule(String);

impl Schedule {
    /// Every so often.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self {
            text: format!("every {}s", interval.as_secs()),
            rule: Rule::Every(interval),
        }
    }

    /// The first time after `now`; `None` if there is none, as for the 30th of February.
    #[must_use]
    pub fn next(&self, now: &Zoned) -> Option<Zoned> {
        match &self.rule {
            Rule::Every(interval) => now.checked_add(*interval).ok(),
            Rule::Cron(cron) => cron.next(now),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let bad = || BadSchedule(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let rule = match words[..] {
            ["every", interval] => Rule::Every(interval_of(interval).ok_or_else(bad)?),
            ["@hourly"] => return "0 * * * *".parse(),
            ["@daily" | "@midnight"] => return "0 0 * * *".parse(),
            ["@weekly"] => return "0 0 * * 0".parse(),
            ["@monthly"] => return "0 0 1 * *".parse(),
            [minutes, hours, days, months, weekdays] => {
                let weekday_bits = field(weekdays, 0, 7, &WEEKDAYS).ok_or_else(bad)?;
                Rule::Cron(Cron {
                    minutes: field(minutes, 0, 59, &[]).ok_or_else(bad)?,
                    hours: field(hours, 0, 23, &[]).ok_or_else(bad)?,
                    days: field(days, 1, 31, &[]).ok_or_else(bad)?,
                    months: field(months, 1, 12, &MONTHS).ok_or_else(bad)?,
                    // Sunday is 0 and 7.
                    weekdays: weekday_bits | weekday_bits >> 7 & 1,
                    either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
                })
            }
            _ => return Err(bad()),
        };
        Ok(Self {
            text: text.to_owned(),
            rule,
        })
    }
}

/// When a schedule comes next. It is asked again at least every quarter of an hour, for clocks are set.
#[derive(Debug, Default)]
pub(crate) struct Due {
    schedule: Option<Schedule>,
    next: Option<Zoned>,
}

/// The longest sleep before the clock is looked at again.
const LONGEST_SLEEP: Duration = Duration::from_secs(900);

impl Due {
    pub(crate) fn of(schedule: Option<&Schedule>) -> Self {
        Self {
            schedule: schedule.cloned(),
            next: schedule.and_then(|schedule| schedule.next(&Zoned::now())),
        }
    }

    /// When to ask [`Due::has_come`].
    pub(crate) fn alarm(&self) -> Option<Instant> {
        let left = Zoned::now().duration_until(self.next.as_ref()?);
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        Some(Instant::now() + left.min(LONGEST_SLEEP))
    }

    /// Whether the time has come; then the next one is set.
    pub(crate) fn has_come(&mut self) -> bool {
        let now = Zoned::now();
        if self.next.as_ref().is_none_or(|next| *next > now) {
            return false;
        }
        self.next = self
            .schedule
            .as_ref()
            .and_then(|schedule| schedule.next(&now));
        true
    }
}

impl Cron {
    fn next(&self, now: &Zoned) -> Option<Zoned> {
        let mut date = now.date();
        for _ in 0..HORIZON_DAYS {
            if self.is_on(date) {
                for hour in (0..24).filter(|hour| self.hours >> hour & 1 == 1) {
                    for minute in (0..60).filter(|minute| self.minutes >> minute & 1 == 1) {
                        // An hour that daylight saving skips is made up for right after it.
                        let at = date.to_datetime(time(hour, minute, 0, 0));
                        let at = at.to_zoned(now.time_zone().clone()).ok()?;
                        if at > *now {
                            return Some(at);
                        }
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    fn is_on(&self, date: Date) -> bool {
        let month = self.months >> date.month() & 1 == 1;
        let day = self.days >> date.day() & 1 == 1;
        let weekday = self.weekdays >> date.weekday().to_sunday_zero_offset() & 1 == 1;
        let is_day = match self.either_day {
            true => day || weekday,
            false => day && weekday,
        };
        month && is_day
    }
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The values of one field: lists of `*`, `N`, `N-M`, each with `/STEP`. Names count from `least`.
fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Option<u64> {
    let value = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let named = names.iter().position(|name| *name == lower);
        let value = match named {
            Some(at) => least + u32::try_from(at).ok()?,
            None => text.parse().ok()?,
        };
        (least..=most).contains(&value).then_some(value)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (value(from)?, value(to)?),
            None if step > 1 => (value(range)?, most),
            None => (value(range)?, value(range)?),
        };
        if from > to {
            return None;
        }
        for value in (from..=to).step_by(step) {
            bits |= 1 << value;
        }
    }
    Some(bits)
}

/// `90s`, `10m`, `6h`, `1d`.
fn interval_of(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..at].parse().ok()?;
    let unit = match &text[at..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    // A year is more than anybody means; it also keeps the sums in range.
    let seconds = number.checked_mul(unit)?;
    (1..=366 * 86400)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: &str, now: &str, expected: Option<&str>) {
        let zoned = |text: &str| {
            let civil: jiff::civil::DateTime = text.parse().unwrap();
            civil.to_zoned(jiff::tz::TimeZone::UTC).unwrap()
        };
        let now = zoned(now);
        let next = schedule.parse::<Schedule>().unwrap().next(&now);
        let expected = expected.map(zoned);
        assert_eq!(next, expected, "{schedule} after {now}");
    }

    #[test]
    fn the_next_time() {
        // A Sunday.
        let now = "2026-11-22T18:30:15";
        check("every 90s", now, Some("2026-11-22T18:31:45"));
        check("0 3 * * *", now, Some("2026-11-23T03:00:00"));
        check("31 18 * * *", now, Some("2026-11-22T18:31:00"));
        check("*/20 * * * *", now, Some("2026-11-22T18:40:00"));
        check("5-10/5,59 18 * * *", now, Some("2026-11-22T18:59:00"));
        check("0 0 1 jan *", now, Some("2027-01-01T00:00:00"));
        check("0 12 * * mon-fri", now, Some("2026-11-23T12:00:00"));
        check("0 12 * * 7", now, Some("2026-11-29T12:00:00"));
        // The 25th, or a Tuesday, whichever is first.
        check("0 0 25 * tue", now, Some("2026-11-24T00:00:00"));
        check("0 0 29 2 *", now, Some("2028-02-29T00:00:00"));
        check("0 0 30 2 *", now, None);
        check("@weekly", now, Some("2026-11-29T00:00:00"));
    }

    #[test]
    fn what_is_no_schedule() {
        for text in [
            "",
            "daily",
            "every",
            "every 0s",
            "every 10",
            "every 99999999999999999999d",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "* * * *",
            "* * * * * *",
            "a * * * *",
        ] {
            assert_eq!(
                text.parse::<Schedule>(),
                Err(BadSchedule(text.to_owned())),
                "{text}"
            );
        }
    }
}
