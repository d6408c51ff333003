//! Sizes with units, and their limits (behaviour.md 1.3.1).

use crate::stop::{Stop, shown};

/// What a size option permits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes in one when no unit is given.
    pub(crate) unit: Unit,
    pub(crate) min: u64,
    pub(crate) max: Option<u64>,
    /// 0 is permitted below `min` and means no limit.
    pub(crate) zero: bool,
}

/// The unit of a number without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Byte,
    Kib,
}

/// Bytes, of any number, without limits.
pub(crate) const BYTES: Limits = Limits {
    unit: Unit::Byte,
    min: 0,
    max: None,
    zero: false,
};

/// Reads the value of `--NAME`.
///
/// # Errors
/// rsync's own words for what is no size, too large or too small.
pub(crate) fn parse(name: &str, text: &[u8], limits: Limits) -> Result<u64, Stop> {
    let told = || format!("--{name}={}", shown(text));
    let number =
        read(text, limits.unit).ok_or_else(|| Stop::option(format!("{} is invalid", told())))?;
    let bytes = number
        .and_then(|bytes| u64::try_from(bytes).ok())
        .filter(|&bytes| limits.max.is_none_or(|max| bytes <= max));
    let Some(bytes) = bytes else {
        let max = limits
            .max
            .map_or(String::new(), |max| format!(" (max: {})", in_units(max)));
        return Err(Stop::option(format!("{} is too large{max}", told())));
    };
    if bytes < limits.min && !(limits.zero && bytes == 0) {
        let unlimited = if limits.zero {
            " or 0 for unlimited"
        } else {
            ""
        };
        let min = in_units(limits.min);
        return Err(Stop::option(format!(
            "{} is too small (min: {min}{unlimited})",
            told()
        )));
    }
    Ok(bytes)
}

/// `None` is no size at all, `Some(None)` one that no number holds.
fn read(text: &[u8], default: Unit) -> Option<Option<i64>> {
    let text = std::str::from_utf8(text).ok()?;
    if text
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Some(None);
    }
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), split_digits);
    let unit = rest
        .chars()
        .next()
        .and_then(|letter| "bkmgtp".find(letter.to_ascii_lowercase()));
    let (power, base, rest) = match unit {
        None => (usize::from(default == Unit::Kib), 1024, rest),
        Some(power) => {
            let suffix = rest[1..].to_ascii_lowercase();
            if suffix.starts_with("ib") {
                (power, 1024_i64, &rest[3..])
            } else if suffix.starts_with('b') {
                (power, 1000, &rest[2..])
            } else {
                (power, 1024, &rest[1..])
            }
        }
    };
    let nudge = match rest {
        "" => 0,
        "+1" if !whole.is_empty() || !fraction.is_empty() => 1,
        "-1" if !whole.is_empty() || !fraction.is_empty() => -1,
        _ => return None,
    };
    let factor = base.pow(u32::try_from(power).unwrap_or(0));
    Some(scale(whole, fraction, factor).and_then(|bytes| bytes.checked_add(nudge)))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// `whole.fraction` times `factor`, cut to an integer.
fn scale(whole: &str, fraction: &str, factor: i64) -> Option<i64> {
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let part = if fraction.is_empty() {
        0.0
    } else {
        format!("0.{fraction}").parse::<f64>().ok()?
    };
    // The product is below 2^50, far from where a float loses integers.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "0 <= part < 1, factor <= 2^50"
    )]
    let part = (part * factor as f64) as i64;
    whole.checked_mul(factor)?.checked_add(part)
}

/// A limit as rsync prints it: two decimals and a unit of base 1024.
fn in_units(bytes: u64) -> String {
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    match units.iter().rev().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let hundredths = (bytes * 100) >> shift;
            format!("{}.{:02}{unit}", hundredths / 100, hundredths % 100)
        }
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Result<u64, Stop> {
        parse("x", text.as_bytes(), BYTES)
    }

    #[test]
    fn sizes_have_units_and_an_offset() {
        for (text, expected) in [
            ("", 0),
            ("0", 0),
            ("12", 12),
            ("12b", 12),
            ("1k", 1024),
            ("1K", 1024),
            ("1kb", 1000),
            ("1bb", 1),
            ("1b+1", 2),
            ("1.k", 1024),
            ("k", 0),
            ("1KiB", 1024),
            ("1.5k", 1536),
            (".5k", 512),
            ("1kb+1", 1001),
            ("1m-1", (1 << 20) - 1),
            ("2G", 2 << 30),
            ("3t", 3 << 40),
            ("1P", 1 << 50),
            ("1.999", 1),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size() {
        for text in [
            "x", "12q", "1k+2", "+1", "1kk", "1..5", "1 k", "1,5k", "1k+11",
        ] {
            assert_eq!(
                bytes(text),
                Err(Stop::option(format!("--x={text} is invalid"))),
                "{text}"
            );
        }
        for text in ["99999999999999999999", "9999999p", "0-1", "-1", "-5"] {
            assert_eq!(
                bytes(text),
                Err(Stop::option(format!("--x={text} is too large"))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_size_out_of_bounds_names_the_bound() {
        let limits = Limits {
            unit: Unit::Kib,
            min: 512,
            max: Some(128 << 10),
            zero: true,
        };
        assert_eq!(parse("x", b"0", limits), Ok(0));
        assert_eq!(parse("x", b"1", limits), Ok(1024));
        let told = |text: &str| parse("x", text.as_bytes(), limits).expect_err(text);
        assert_eq!(
            told("100b"),
            Stop::option("--x=100b is too small (min: 512 or 0 for unlimited)")
        );
        assert_eq!(
            told("200k"),
            Stop::option("--x=200k is too large (max: 128.00K)")
        );
    }
}
