//! Counters of a metrics page. Read leniently: real pages repeat their type lines and use colons in names.

use anyhow::{Result, ensure};

/// The sum of every sample of these names; each name must be there.
pub fn total(page: &str, names: &[String]) -> Result<u64> {
    let mut sum = 0.0;
    for name in names {
        let mut found = false;
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let end = line.find(['{', ' ']).unwrap_or(line.len());
            if &line[..end] == name {
                // A label's value may hold anything, so the number is what follows the last brace.
                let rest = line.rfind('}').map_or(&line[end..], |at| &line[at + 1..]);
                let value = rest.split_whitespace().next().unwrap_or_default();
                sum += value.parse::<f64>().map_err(|_| anyhow::anyhow!("`{line}` has no number"))?;
                found = true;
            }
        }
        ensure!(found, "the metrics page has no `{name}`");
    }
    ensure!(sum >= 0.0 && sum.fract() == 0.0, "{} add up to {sum}, which is no count", names.join(" and "));
    Ok(sum as u64)
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn sums() {
        let page = "# TYPE a:b counter\na:b{x=\"1 } y\"} 2\na:b{x=\"2\"} 3.0 1700000\na:b_more 9\nc 4\nh_sum 0.5\nbad x\n";
        let check = |names: &[&str], expect: Result<u64, &str>| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            match (total(page, &names), expect) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (got, _) => panic!("{names:?}: {got:?}"),
            }
        };
        check(&["a:b"], Ok(5));
        check(&["a:b", "c"], Ok(9));
        check(&["a"], Err("has no `a`"));
        check(&["h_sum"], Err("no count"));
        check(&["bad"], Err("has no number"));
    }
}
