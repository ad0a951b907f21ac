//! Numbers for people: three significant digits and a unit, thousands grouped. Files keep the raw values.

use nomoat_core::units::Nanos;

/// A value in the unit of its metric row.
pub(super) fn human(value: f64, unit: &str) -> String {
    match unit {
        "ns" => duration(value),
        "s" => duration(value * 1e9),
        "USD" => money(value),
        "bytes" => bytes(value),
        "bytes·s" => format!("{}·s", bytes(value)),
        "share" => percent(value),
        "J" | "W" => physical(value, unit),
        _ => digits(value),
    }
}

/// The unit of a row, where [`human`] does not already say it.
pub(super) fn unit_words(unit: &str) -> &str {
    match unit {
        "ns" | "s" | "USD" | "bytes" | "bytes·s" | "share" | "J" | "W" => "",
        "1/s" => "/s",
        other => other,
    }
}

/// A value with its unit spelled out, for places whose label does not say it.
pub(super) fn with_unit(value: f64, unit: &str) -> String {
    let (number, rest) = (human(value, unit), unit_words(unit));
    let space = if rest.is_empty() || rest.starts_with('/') { "" } else { " " };
    format!("{number}{space}{rest}")
}

/// Nanoseconds in the largest unit that fits.
pub(super) fn duration(ns: f64) -> String {
    Nanos(ns.round() as i64).to_string()
}

/// Lower and upper end in the unit of the upper one: `139–145 ms`, `0.98–1.02 s`, `≥ 341 ms`. Only times of different size are scaled
/// down, to two digits behind the point; two units would not fit a cell.
pub(super) fn interval(lo: f64, hi: Option<f64>, unit: &str) -> String {
    let (lo_ns, lo) = (lo, human(lo, unit));
    let Some(hi) = hi.map(|h| human(h, unit)) else { return format!("≥ {lo}") };
    match (lo.rsplit_once(' '), hi.rsplit_once(' ')) {
        (Some((number, a)), Some((_, b))) if a == b => format!("{number}–{hi}"),
        (Some(_), Some((_, b))) if unit == "ns" => format!("{:.2}–{hi}", lo_ns / factor(b)),
        _ => format!("{lo}–{hi}"),
    }
}

/// Nanoseconds in a unit of [`Nanos`]' own printing.
fn factor(unit: &str) -> f64 {
    match unit {
        "s" => 1e9,
        "ms" => 1e6,
        "µs" => 1e3,
        _ => 1.0,
    }
}

/// Bytes in powers of 1024.
pub(super) fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = value;
    let mut unit = 0;
    // Rounding to three digits may reach the next unit: 1023.9 KiB is 1.00 MiB.
    while rounded(scaled).abs() >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{} B", group(scaled.round())) } else { format!("{} {}", digits(scaled), UNITS[unit]) }
}

/// USD: cents from one dollar on, three significant digits below.
pub(super) fn money(usd: f64) -> String {
    let sign = if usd < 0.0 { "-" } else { "" };
    let usd = usd.abs();
    if usd >= 1.0 {
        let cents = (usd * 100.0).round();
        format!("{sign}${}.{:02}", group((cents / 100.0).trunc()), cents as u64 % 100)
    } else {
        format!("{sign}${}", digits(usd))
    }
}

/// Joules or watts in the prefix that fits.
fn physical(value: f64, unit: &str) -> String {
    let (factor, prefix) = match value.abs() {
        v if v >= 1e9 => (1e9, "G"),
        v if v >= 1e6 => (1e6, "M"),
        v if v >= 1e4 => (1e3, "k"),
        v if v >= 0.01 || v == 0.0 => (1.0, ""),
        _ => (1e-3, "m"),
    };
    format!("{} {prefix}{unit}", digits(value / factor))
}

/// A share as per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// Three significant digits; from 1000 on, whole and grouped.
pub(super) fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".into() } else { value.to_string() };
    }
    let rounded = rounded(value);
    if rounded.abs() >= 1000.0 {
        return group(value.round());
    }
    let exponent = rounded.abs().log10().floor() as i32;
    format!("{rounded:.*}", usize::try_from(2 - exponent).unwrap_or(0))
}

/// An integer with its thousands grouped.
pub(super) fn count(n: u64) -> String {
    group(n as f64)
}

/// To three significant digits below 1000, to whole numbers above. Through text, because scaling by powers of ten would round twice.
fn rounded(value: f64) -> f64 {
    if value.abs() >= 1000.0 { value.round() } else { format!("{value:.2e}").parse().unwrap_or(value) }
}

fn group(whole: f64) -> String {
    let plain = format!("{:.0}", whole.abs());
    let mut text = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if whole < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (value, unit, text) in [
            (142e6, "ns", "142 ms"),
            (21_499.6, "ns", "21.5 µs"),
            (-3e6, "ns", "-3.00 ms"),
            (2.4, "s", "2.40 s"),
            (2061.7, "tokens/s", "2,062"),
            (999.6, "tokens/s", "1,000"),
            (99.96, "tokens/s", "100"),
            (9.996, "tokens/s", "10.0"),
            (1.4, "1/s", "1.40"),
            (0.0, "1/s", "0"),
            (0.012_34, "1/s", "0.0123"),
            (1_234_567.8, "tokens", "1,234,568"),
            (0.38398, "USD", "$0.384"),
            (0.000_039_45, "USD", "$0.0000394"),
            (1.005, "USD", "$1.00"),
            (1234.567, "USD", "$1,234.57"),
            (19.999, "USD", "$20.00"),
            (0.0, "USD", "$0"),
            (16.0, "bytes", "16 B"),
            (131_072.0, "bytes", "128 KiB"),
            (1023.9 * 1024.0, "bytes", "1.00 MiB"),
            (7.93e9, "bytes", "7.39 GiB"),
            (1.5 * 1_073_741_824.0, "bytes·s", "1.50 GiB·s"),
            (0.523, "J", "0.523 J"),
            (0.001_23, "J", "1.23 mJ"),
            (1_234.6, "J", "1,235 J"),
            (12_345.0, "J", "12.3 kJ"),
            (3.6e6, "J", "3.60 MJ"),
            (4_823.4, "W", "4,823 W"),
            (0.0, "W", "0 W"),
            (0.985, "share", "98.5 %"),
            (1.0, "share", "100 %"),
            (0.0017, "share", "0.170 %"),
        ] {
            assert_eq!(human(value, unit), text, "{value} {unit}");
        }
        assert_eq!(with_unit(20.0, "1/s"), "20.0/s");
        assert_eq!(with_unit(257.7, "tokens/s"), "258 tokens/s");
        for (lo, hi, text) in [
            (139e6, Some(145e6), "139–145 ms"),
            (980e6, Some(1.02e9), "0.98–1.02 s"),
            (786e3, Some(1.4e6), "0.79–1.40 ms"),
            (341e6, None, "≥ 341 ms"),
        ] {
            assert_eq!(interval(lo, hi, "ns"), text);
        }
    }
}
