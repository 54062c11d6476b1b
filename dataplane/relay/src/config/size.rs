//! Sizes and rates in bytes, as people write them: `1500000`, `1.5MB`, `16 KiB`. One way for settings and commands.

/// Reads a size. The small `k` of the metric system is taken too, and `_` between digits.
///
/// # Errors
/// The text is no size, or a larger one than a configuration file can hold.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size; write 1500000, 1.5MB or 16KiB");
    let end = text
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number = number.replace('_', "");
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(scale).ok_or_else(wrong)?,
        Err(_) => match number.parse::<f64>().map_err(|_| wrong())? * scale as f64 {
            // Nothing would be no limit at all.
            part if part > 0.0 && part < 1.0 => return Err(wrong()),
            bytes => bytes as u64,
        },
    };
    // TOML has no larger numbers.
    match i64::try_from(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(wrong()),
    }
}

/// Reads a rate limit in bytes per second. `none` is 0: no limit.
///
/// # Errors
/// The text is neither that nor a size.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    match text {
        "none" => Ok(0),
        text => parse_bytes(text).map_err(|error| format!("{error}, or none for no limit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_read() {
        let cases = [
            ("0", 0),
            ("1500000", 1_500_000),
            ("1_500_000", 1_500_000),
            ("1.5MB", 1_500_000),
            ("500kB", 500_000),
            ("16 KiB", 16_384),
            ("2GB", 2_000_000_000),
        ];
        for (text, value) in cases {
            assert_eq!(parse_bytes(text), Ok(value), "{text}");
            assert_eq!(parse_rate(text), Ok(value), "{text}");
        }
        for text in [
            "",
            "MB",
            "-1",
            "1.5.5MB",
            "1Mbit",
            "99999999999GB",
            "0.5",
            "0.0001kB",
            "18446744073709551615",
            "99999999999.5GB",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
            assert!(parse_rate(text).is_err(), "{text}");
        }
        assert_eq!(parse_rate("none"), Ok(0));
        assert!(parse_bytes("none").is_err());
    }
}
