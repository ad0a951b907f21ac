//! A text as the words of a command, as a shell splits it: by spaces, with quotes and backslashes, and with nothing else of a shell.

/// Splits `text`.
///
/// # Errors
/// A quote that is not closed, or a backslash at the end.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("the quote {c} is not closed")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => match chars.next() {
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                            Some(other) => word.extend(['\\', other]),
                            None => return Err("the quote \" is not closed".into()),
                        },
                        Some(inner) => word.push(inner),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("it ends in a backslash")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Words as a text that [`split`] reads as the same words.
pub fn join(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%{}<>".contains(c);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_shell_splits() {
        let check = |text: &str, expect: &[&str]| {
            let words = split(text).unwrap();
            assert_eq!(words, expect, "{text}");
            assert_eq!(split(&join(&words)).unwrap(), expect, "{text} goes round");
        };
        check("", &[]);
        check("  a\tb\nc ", &["a", "b", "c"]);
        check(r#"--json '{"a": 1}' ''"#, &["--json", r#"{"a": 1}"#, ""]);
        check(r#"a"b c"d "x\"y" "\n""#, &["ab cd", "x\"y", "\\n"]);
        check(r"a\ b it\'s", &["a b", "it's"]);
        check("$HOME *", &["$HOME", "*"]);
        for text in ["'a", "\"a", "\"a\\", "a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
