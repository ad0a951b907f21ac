//! The nearest known word to a mistyped one: for messages only. When a word is near enough to be suggested is the caller's to say.

/// The candidate that begins with `word`, else the one with the smallest edit distance to it; the first of equals. `None`
/// without candidates.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates.into_iter().min_by_key(|candidate| (!candidate.starts_with(word), distance(word, candidate)))
}

/// Levenshtein distance in characters. Words are cut at 64 characters: a suggestion for more is not worth its square.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest() {
        let check = |word: &str, expect: &str| {
            assert_eq!(nearest(word, ["canonical", "azure-csv", "mooncake-jsonl"]), Some(expect), "{word}");
        };
        check("azure", "azure-csv");
        check("mooncake", "mooncake-jsonl");
        check("canonicle", "canonical");
        assert_eq!(nearest("x", []), None);
        for (a, b, expect) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)] {
            assert_eq!(distance(a, b), expect, "{a} {b}");
        }
    }
}
