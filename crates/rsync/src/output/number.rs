//! Numbers as people read them (behaviour.md 3.6).

/// How numbers are written: 0 is digits only, 1 adds separators, 2 units of 1000, 3 and more units of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Human(pub(crate) u32);

impl Human {
    /// A number of bytes.
    pub(crate) fn bytes(self, number: u64) -> String {
        self.with_unit(number).unwrap_or_else(|| self.count(number))
    }

    /// A count, which never gets a unit.
    pub(crate) fn count(self, number: u64) -> String {
        let digits = number.to_string();
        if self.0 == 0 {
            digits
        } else {
            separated(&digits)
        }
    }

    /// A rate or ratio with two decimals, in bytes if `has_unit`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite, positive, far below 2^64"
    )]
    pub(crate) fn decimal(self, number: f64, has_unit: bool) -> String {
        if has_unit && let Some(text) = self.with_unit(number as u64) {
            return text;
        }
        let text = format!("{number:.2}");
        match text.split_once('.') {
            Some((whole, fraction)) if self.0 > 0 => format!("{}.{fraction}", separated(whole)),
            _ => text,
        }
    }

    fn with_unit(self, number: u64) -> Option<String> {
        let base = match self.0 {
            0 | 1 => return None,
            2 => 1000.0,
            _ => 1024.0,
        };
        #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
        let mut scaled = number as f64;
        let mut unit = None;
        for letter in ["K", "M", "G", "T", "P"] {
            if scaled < base {
                break;
            }
            scaled /= base;
            unit = Some(letter);
        }
        unit.map(|unit| format!("{scaled:.2}{unit}"))
    }
}

/// A comma before every third digit from the end.
fn separated(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_easier_to_read() {
        for (number, level, expected) in [
            (300_000, 0, "300000"),
            (300_000, 1, "300,000"),
            (999, 1, "999"),
            (1_000_000, 1, "1,000,000"),
            (4096, 2, "4.10K"),
            (999, 2, "999"),
            (1000, 2, "1.00K"),
            (300_010, 2, "300.01K"),
            (4096, 3, "4.00K"),
            (1023, 3, "1,023"),
            (300_010, 4, "292.98K"),
            (5_000_000_000, 2, "5.00G"),
        ] {
            assert_eq!(Human(level).bytes(number), expected, "{number} at {level}");
        }
        assert_eq!(Human(3).count(300_010), "300,010");
    }

    #[test]
    fn rates_have_decimals() {
        assert_eq!(Human(1).decimal(601_110.0, true), "601,110.00");
        assert_eq!(Human(2).decimal(601_170.0, true), "601.17K");
        assert_eq!(Human(2).decimal(1500.05, false), "1,500.05");
        assert_eq!(Human(0).decimal(1500.05, false), "1500.05");
    }
}
