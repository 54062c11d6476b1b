//! Go's text forms of booleans, numbers and durations, because derper's command lines use them.

use std::time::Duration;

/// `strconv.ParseBool`.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// `strconv.ParseInt` with base 0: decimal, `0x…`, `0o…`, `0…`, `0b…`, and `_` between digits.
pub(super) fn parse_int(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is not a whole number");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit() || (c == '_' && radix != 10)) {
        return Err(wrong());
    }
    let digits: String = digits.chars().filter(|&c| c != '_').collect();
    let value = i128::from_str_radix(&digits, radix).map_err(|_| wrong())?;
    i64::try_from(if negative { -value } else { value }).map_err(|_| wrong())
}

/// `strconv.ParseFloat` for decimal text, `Inf` included; NaN is refused because no setting
/// can mean it.
pub(super) fn parse_float(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if !value.is_nan() => Ok(value),
        _ => Err(format!("{text:?} is not a number")),
    }
}

/// Units of `time.ParseDuration` in nanoseconds, longest text first where one begins another.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3), // U+00B5
    ("μs", 1e3), // U+03BC
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a duration as Go writes it (`1m30s`), not negative: no setting can mean that.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = |hint: &str| format!("{text:?} is not a duration: {hint}");
    let rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.starts_with('-') {
        return Err(wrong("it must not be negative"));
    }
    if rest.is_empty() {
        return Err(wrong("write a number with its unit, as in 1m30s or 500ms"));
    }
    let mut rest = rest;
    let mut nanoseconds = 0.0_f64;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let number: f64 = number
            .parse()
            .map_err(|_| wrong("a number must come before each unit"))?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, scale) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| wrong("the units are h, m, s, ms, us and ns, as in 1m30s"))?;
        nanoseconds += number * scale;
        rest = tail;
    }
    // Go counts in i64 nanoseconds: about 292 years.
    if nanoseconds > i64::MAX as f64 {
        return Err(wrong("it is too long"));
    }
    Ok(Duration::from_nanos(nanoseconds.round() as u64))
}

/// Writes a duration so that [`parse_duration`] reads it back: `1h30m`, `1.5s`, `250ms`.
pub(super) fn format_duration(duration: Duration) -> String {
    use std::fmt::Write as _;
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let seconds = duration.as_secs();
    let below_second = duration.subsec_nanos();
    let mut text = String::new();
    for (unit, size, above) in [("h", 3600, u64::MAX), ("m", 60, 60), ("s", 1, 60)] {
        let count = seconds / size % above;
        if count > 0 {
            let _ = write!(text, "{count}{unit}");
        }
    }
    for (unit, size) in [("ms", 1_000_000), ("us", 1_000), ("ns", 1)] {
        let count = below_second / size % 1000;
        if count > 0 {
            let _ = write!(text, "{count}{unit}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_go_reads_them() {
        let cases = [
            ("0", 0),
            ("2s", 2_000_000_000),
            ("10m", 600_000_000_000),
            ("1h15m30.918273645s", 4_530_918_273_645),
            ("+5s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("100us", 100_000),
            ("100µs", 100_000),
            ("3ns", 3),
            ("1m1ms", 60_001_000_000),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_nanos(nanoseconds)),
                "{text}"
            );
        }
        for text in [
            "", "5", "-1s", "s", "1x", "1 s", "1d", ".s", "1.2.3s", "9999999h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_as_go_reads_them() {
        let cases = [
            ("80", 80),
            ("-1", -1),
            ("0x1BB", 443),
            ("0o17", 15),
            ("017", 15),
            ("1_000", 1000),
            ("0", 0),
        ];
        for (text, value) in cases {
            assert_eq!(parse_int(text), Ok(value), "{text}");
        }
        for text in [
            "",
            "-",
            "8O",
            "0x",
            "--1",
            "99999999999999999999",
            "1.5",
            "-+3",
        ] {
            assert!(parse_int(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_and_booleans_as_go_reads_them() {
        assert_eq!(parse_float("+Inf"), Ok(f64::INFINITY));
        assert_eq!(parse_float("1e3"), Ok(1000.0));
        assert!(parse_float("NaN").is_err());
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("0"), Ok(false));
        assert!(parse_bool("yes").is_err());
    }

    proptest! {
        #[test]
        fn a_written_duration_is_read_back(seconds in 0u64..400 * 3600, ms in 0u64..1000, us in 0u64..1000) {
            let duration = Duration::from_secs(seconds)
                + Duration::from_millis(ms)
                + Duration::from_micros(us);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
