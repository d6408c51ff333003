//! The value of `--stop-at` (behaviour.md 1.3.3).

use jiff::civil::{Date, DateTime, Time};
use jiff::{ToSpan, Zoned};

use crate::stop::{Stop, shown};

/// What was said of the moment; the rest is the next that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    hour: Option<i8>,
    minute: i8,
}

/// Whether the text has the form of a moment.
///
/// # Errors
/// rsync's words if it has not.
pub(crate) fn check(text: &[u8]) -> Result<(), Stop> {
    parse(text).map(|_| ())
}

/// The moment that the text means at `now`.
///
/// # Errors
/// rsync's words for what is no moment, or a past one.
pub(crate) fn resolve(text: &[u8], now: &Zoned) -> Result<Zoned, Stop> {
    let moment = parse(text)?;
    let found = moment
        .next(now)
        .and_then(|at| at.to_zoned(now.time_zone().clone()).ok());
    found.filter(|at| at > now).ok_or_else(|| {
        Stop::option(format!(
            "--stop-at time is not in the future: {}",
            shown(text)
        ))
    })
}

fn parse(text: &[u8]) -> Result<Moment, Stop> {
    let invalid = || Stop::option(format!("invalid --stop-at format: {}", shown(text)));
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    read(text).ok_or_else(invalid)
}

fn read(text: &str) -> Option<Moment> {
    if text.is_empty() {
        return None;
    }
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None if text.contains(':') => ("", Some(text)),
        None => (text, None),
    };
    let mut moment = Moment {
        year: None,
        month: None,
        day: None,
        hour: None,
        minute: 0,
    };
    if !date.is_empty() {
        let mut parts = date.rsplit(['-', '/']);
        moment.day = Some(part(parts.next()?, 2, 1..=31)?);
        moment.month = parts
            .next()
            .map(|text| part(text, 2, 1..=12).ok_or(()))
            .transpose()
            .ok()?;
        moment.year = parts
            .next()
            .map(|text| part(text, 4, 0..=9999).ok_or(()))
            .transpose()
            .ok()?;
        if parts.next().is_some() {
            return None;
        }
    }
    match time {
        Some(time) if !time.is_empty() || date.is_empty() => {
            let (hour, minute) = time.split_once(':')?;
            moment.hour = if hour.is_empty() {
                None
            } else {
                Some(part(hour, 2, 0..=23)?)
            };
            if !date.is_empty() && hour.is_empty() {
                return None;
            }
            moment.minute = part(minute, 2, 0..=59)?;
        }
        _ => moment.hour = Some(0),
    }
    Some(moment)
}

fn part<N: std::str::FromStr + PartialOrd>(
    text: &str,
    digits: usize,
    range: std::ops::RangeInclusive<N>,
) -> Option<N> {
    let is_number =
        !text.is_empty() && text.len() <= digits && text.chars().all(|c| c.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| is_number && range.contains(number))
}

impl Moment {
    /// The first moment after `now` that fits; a given year may make it a past one.
    fn next(self, now: &Zoned) -> Option<DateTime> {
        let today = now.date();
        let Some(day) = self.day else {
            return self.next_time(now);
        };
        let time = Time::new(self.hour?, self.minute, 0, 0).ok()?;
        let is_future = |at: &DateTime| *at > now.datetime();
        match (self.year, self.month) {
            (Some(year), Some(month)) => {
                let year = if year < 100 {
                    (0..100)
                        .map(|c| year + c * 100)
                        .find(|&y| y >= today.year())?
                } else {
                    year
                };
                Some(Date::new(year, month, day).ok()?.to_datetime(time))
            }
            (None, Some(month)) => (today.year()..today.year() + 9)
                .filter_map(|year| Some(Date::new(year, month, day).ok()?.to_datetime(time)))
                .find(is_future),
            (_, None) => (0..14)
                .filter_map(|months| {
                    let month = today.first_of_month().checked_add(months.months()).ok()?;
                    Some(
                        Date::new(month.year(), month.month(), day)
                            .ok()?
                            .to_datetime(time),
                    )
                })
                .find(is_future),
        }
    }

    /// The next such time of a day, or minute of an hour.
    fn next_time(self, now: &Zoned) -> Option<DateTime> {
        let start = now.datetime();
        match self.hour {
            Some(hour) => {
                let at = start.date().at(hour, self.minute, 0, 0);
                if at > start {
                    Some(at)
                } else {
                    at.checked_add(1.day()).ok()
                }
            }
            None => {
                let at = start.date().at(start.hour(), self.minute, 0, 0);
                if at > start {
                    Some(at)
                } else {
                    at.checked_add(1.hour()).ok()
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now = jiff::civil::date(2026, 11, 22)
            .at(12, 30, 10, 0)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .expect("a moment");
        match resolve(text.as_bytes(), &now) {
            Ok(at) => at.strftime("%Y-%m-%d %H:%M").to_string(),
            Err(Stop::Refuse(text, _)) => text,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_next_moment_that_fits() {
        for (text, expected) in [
            ("2027-01-02T03:04", "2027-01-02 03:04"),
            ("2027/1/2t3:4", "2027-01-02 03:04"),
            ("27-1-2", "2027-01-02 00:00"),
            ("1-2", "2027-01-02 00:00"),
            ("1-2T", "2027-01-02 00:00"),
            ("12-2", "2026-12-02 00:00"),
            ("22", "2026-12-22 00:00"),
            ("30", "2026-11-30 00:00"),
            ("31", "2026-12-31 00:00"),
            ("T13:00", "2026-11-22 13:00"),
            ("12:30", "2026-11-23 12:30"),
            (":31", "2026-11-22 12:31"),
            (":30", "2026-11-22 13:30"),
        ] {
            assert_eq!(at(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "", "foo", "1-2-3-4", "13-1", "1-32", "25:00", "T", "1T:05", "12:60",
        ] {
            assert_eq!(at(text), format!("rsync: invalid --stop-at format: {text}"));
        }
        assert_eq!(
            at("1999-01-01"),
            "rsync: --stop-at time is not in the future: 1999-01-01"
        );
    }
}
