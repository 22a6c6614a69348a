//! What a misspelt name was probably meant to be.

/// The candidate that is fewest edits away, if that is few for its length; of
/// equals the first.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let few = (name.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= few)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's, over one row. Names are at most some hundred characters long.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: [&str; 5] = ["custom", "mock", "openai", "openrouter", "together"];

    #[test]
    fn a_typo_finds_what_was_meant() {
        for (typo, meant) in [
            ("open-ai", "openai"),
            ("OpenAI", "openai"),
            ("opnai", "openai"),
            ("moc", "mock"),
            ("togetherai", "together"),
        ] {
            assert_eq!(nearest(typo, TYPES), Some(meant), "{typo}");
        }
    }

    #[test]
    fn a_name_that_is_like_nothing_finds_nothing() {
        for name in ["", "bedrock", "a-very-long-name-of-something-else"] {
            assert_eq!(nearest(name, TYPES), None, "{name}");
        }
    }
}
