//! A way out for those who mistype an option.

use crate::table;

/// What may have been meant, after a message about an option that does not exist.
pub(crate) fn for_fault(text: &str) -> Option<String> {
    let word = text
        .strip_prefix("rsync: ")?
        .strip_suffix(": unknown option")?;
    let typed = word.strip_prefix("--")?.split('=').next()?;
    let names = table::rows().flat_map(|row| {
        let own = Some(row.long).filter(|_| !row.brief.is_empty());
        own.into_iter().chain(row.no.iter().copied())
    });
    let (_, closest) = names
        .filter(|name| !name.is_empty())
        .map(|name| (distance(typed, name), name))
        .filter(|(distance, name)| name.starts_with(typed) || *distance <= 1 + typed.len() / 5)
        .min()?;
    Some(format!("(Did you mean --{closest}?)"))
}

/// How many letters must be put in, taken out or replaced to make one word of another.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let told = |word: &str| for_fault(&format!("rsync: {word}: unknown option"));
        for (word, meant) in [
            ("--recurs", "recursive"),
            ("--exlude=x", "exclude"),
            ("--delte", "delete"),
            ("--no-prems", "no-perms"),
        ] {
            assert_eq!(told(word), Some(format!("(Did you mean --{meant}?)")));
        }
        assert_eq!(told("--frobnicate"), None);
        assert_eq!(told("-aZ"), None);
        assert_eq!(for_fault("rsync: --timeout=x: invalid numeric value"), None);
    }

    #[test]
    fn a_distance_counts_single_letters() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 2),
            ("kit", "sitt", 2),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
