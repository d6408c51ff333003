//! Shell wildcards over bytes, as rsync understands them (behaviour 5.3).
//!
//! `?` is one byte but `/`, `*` any run without `/`, two or more stars any run at all, `[...]` one byte of a set but
//! never `/`, and `\` takes the next byte literally. A pattern is compiled once and then walked as a
//! nondeterministic automaton, so the work is at most pattern length times text length whatever either contains.

use std::ops::RangeInclusive;

/// A compiled wildcard pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// What the text must start with: everything before the first star.
    head: Box<[Token]>,
    /// From the first star to the last one; empty in a pattern without stars.
    middle: Box<[Token]>,
    /// What the text must end with: everything after the last star.
    tail: Box<[Token]>,
    /// A malformed pattern (an unterminated set, a lone `\` at the end) matches nothing.
    malformed: bool,
}

impl Glob {
    /// Compiles `pattern`. There is no error: what cannot be understood matches nothing, as in rsync.
    pub fn new(pattern: &[u8]) -> Self {
        let Some(tokens) = tokenize(pattern) else {
            return Glob {
                head: [].into(),
                middle: [].into(),
                tail: [].into(),
                malformed: true,
            };
        };
        let first = tokens
            .iter()
            .position(Token::is_star)
            .unwrap_or(tokens.len());
        let last = tokens
            .iter()
            .rposition(Token::is_star)
            .map_or(first, |star| star + 1);
        Glob {
            head: tokens[..first].into(),
            middle: tokens[first..last].into(),
            tail: tokens[last..].into(),
            malformed: false,
        }
    }

    /// Does the pattern match the whole of `text`?
    pub fn is_match(&self, text: &[u8]) -> bool {
        if self.malformed || text.len() < self.head.len() + self.tail.len() {
            return false;
        }
        // Both ends are of fixed length, which decides nearly every real rule (`*.o`, `cvslog.*`) without the automaton.
        let (head, rest) = text.split_at(self.head.len());
        let (between, tail) = rest.split_at(rest.len() - self.tail.len());
        if !one_by_one(&self.head, head) || !one_by_one(&self.tail, tail) {
            return false;
        }
        match &*self.middle {
            [] => between.is_empty(),
            [Token::AnyPath] => true,
            [Token::AnyName] => !between.contains(&b'/'),
            tokens => simulate(tokens, between),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyByte,
    Set(Box<ByteSet>),
    /// `*`
    AnyName,
    /// `**`
    AnyPath,
}

impl Token {
    fn is_star(&self) -> bool {
        matches!(self, Token::AnyName | Token::AnyPath)
    }

    /// Can this token consume `byte`?
    fn takes(&self, byte: u8) -> bool {
        match self {
            Token::Byte(wanted) => *wanted == byte,
            Token::AnyByte | Token::AnyName => byte != b'/',
            Token::Set(set) => set.contains(byte),
            Token::AnyPath => true,
        }
    }
}

fn one_by_one(tokens: &[Token], text: &[u8]) -> bool {
    tokens
        .iter()
        .zip(text)
        .all(|(token, &byte)| token.takes(byte))
}

/// Runs the automaton whose state `i` means "tokens before `i` have matched so far".
fn simulate(tokens: &[Token], text: &[u8]) -> bool {
    let words = tokens.len() / 64 + 1;
    let mut on_stack = [[0_u64; 4]; 2];
    let mut on_heap = [Vec::new(), Vec::new()];
    let [mut now, mut next] = if words <= 4 {
        on_stack.each_mut().map(|states| &mut states[..words])
    } else {
        on_heap.each_mut().map(|states| {
            states.resize(words, 0_u64);
            states.as_mut_slice()
        })
    };

    activate(now, 0, tokens);
    for &byte in text {
        next.fill(0);
        let mut alive = false;
        for (index, &word) in now.iter().enumerate() {
            let mut bits = word;
            while bits != 0 {
                let state = index * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let Some(token) = tokens.get(state) else {
                    continue;
                };
                if token.takes(byte) {
                    activate(
                        next,
                        if token.is_star() { state } else { state + 1 },
                        tokens,
                    );
                    alive = true;
                }
            }
        }
        if !alive {
            return false;
        }
        std::mem::swap(&mut now, &mut next);
    }
    now[tokens.len() / 64] >> (tokens.len() % 64) & 1 == 1
}

/// Enters `state`, and the one after it if a star there may match nothing. Two stars are never neighbours.
fn activate(states: &mut [u64], state: usize, tokens: &[Token]) {
    states[state / 64] |= 1 << (state % 64);
    if tokens.get(state).is_some_and(Token::is_star) {
        states[(state + 1) / 64] |= 1 << ((state + 1) % 64);
    }
}

/// `None` if the pattern is malformed.
fn tokenize(pattern: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut at = 0;
    while let Some(&byte) = pattern.get(at) {
        at += 1;
        tokens.push(match byte {
            b'?' => Token::AnyByte,
            b'*' => {
                let more = pattern[at..]
                    .iter()
                    .take_while(|&&next| next == b'*')
                    .count();
                at += more;
                if more == 0 {
                    Token::AnyName
                } else {
                    Token::AnyPath
                }
            }
            b'[' => {
                let (set, length) = ByteSet::parse(&pattern[at..])?;
                at += length;
                Token::Set(Box::new(set))
            }
            b'\\' => {
                let &literal = pattern.get(at)?;
                at += 1;
                Token::Byte(literal)
            }
            _ => Token::Byte(byte),
        });
    }
    Some(tokens)
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ByteSet([u64; 4]);

impl ByteSet {
    /// Parses what follows `[`, up to and including the closing `]`; also returns how many bytes that was.
    fn parse(text: &[u8]) -> Option<(Self, usize)> {
        let mut set = ByteSet::default();
        let negated = matches!(text.first(), Some(b'!' | b'^'));
        let start = usize::from(negated);
        let mut at = start;
        // The low end of a range, should a `-` follow; the end of a range or a class cannot be one.
        let mut low = None;
        loop {
            let &byte = text.get(at)?;
            at += 1;
            match byte {
                // As the first member it is literal.
                b']' if at > start + 1 => break,
                b'-' if low.is_some() && text.get(at).is_some_and(|&next| next != b']') => {
                    let (high, length) = literal(&text[at..])?;
                    at += length;
                    if let Some(low) = low.take() {
                        set.insert(low..=high);
                    }
                }
                b'[' if text.get(at) == Some(&b':') => {
                    let name = &text[at + 1..];
                    let close = at + 1 + name.iter().position(|&byte| byte == b']')?;
                    if close > at + 1 && text[close - 1] == b':' {
                        set.insert_class(&text[at + 1..close - 1])?;
                        at = close + 1;
                        low = None;
                    } else {
                        // Not a class after all: the bracket is an ordinary member.
                        set.insert(b'['..=b'[');
                        low = Some(b'[');
                    }
                }
                _ => {
                    let (member, length) = literal(&text[at - 1..])?;
                    at += length - 1;
                    set.insert(member..=member);
                    low = Some(member);
                }
            }
        }
        if negated {
            set.0.iter_mut().for_each(|word| *word = !*word);
        }
        set.remove(b'/');
        Some((set, at))
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
    }

    fn insert(&mut self, range: RangeInclusive<u8>) {
        for byte in range {
            self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
        }
    }

    fn remove(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] &= !(1 << (byte % 64));
    }

    fn insert_class(&mut self, name: &[u8]) -> Option<()> {
        let is_member: fn(&u8) -> bool = match name {
            b"alnum" => u8::is_ascii_alphanumeric,
            b"alpha" => u8::is_ascii_alphabetic,
            b"blank" => |byte| matches!(byte, b' ' | b'\t'),
            b"cntrl" => u8::is_ascii_control,
            b"digit" => u8::is_ascii_digit,
            b"graph" => u8::is_ascii_graphic,
            b"lower" => u8::is_ascii_lowercase,
            b"print" => |byte| matches!(byte, b' '..=b'~'),
            b"punct" => u8::is_ascii_punctuation,
            // C's isspace, which counts the vertical tab.
            b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
            b"upper" => u8::is_ascii_uppercase,
            b"xdigit" => u8::is_ascii_hexdigit,
            _ => return None,
        };
        (0..=u8::MAX)
            .filter(is_member)
            .for_each(|byte| self.insert(byte..=byte));
        Some(())
    }
}

/// One member of a set, perhaps escaped, and how many bytes it takes.
fn literal(text: &[u8]) -> Option<(u8, usize)> {
    match *text {
        [b'\\', escaped, ..] => Some((escaped, 2)),
        [b'\\'] | [] => None,
        [byte, ..] => Some((byte, 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern.as_bytes()).is_match(text.as_bytes())
    }

    #[test]
    fn stars_stop_at_a_slash_and_double_stars_do_not() {
        assert!(matches("*.o", "main.o"));
        assert!(!matches("*.o", "src/main.o"));
        assert!(matches("**.o", "src/main.o"));
        assert!(matches("a/**/z", "a/b/c/z"));
        assert!(!matches("a/**/z", "a/z"));
        assert!(matches("a*c*e", "abcde"));
        assert!(!matches("a*c*e", "abc/de"));
        assert!(matches("**b*c/d", "a/b/bxc/d"));
        assert!(!matches("ab*ba", "aba"), "the two ends may not overlap");
    }

    #[test]
    fn sets_take_ranges_classes_negation_and_escapes() {
        assert!(matches("[a-c]x", "bx"));
        assert!(!matches("[!a-c]x", "bx"));
        assert!(matches("[^a-c]x", "dx"));
        assert!(matches("[]x]", "]"));
        assert!(matches("[]-a]", "^"));
        assert!(matches("[a-]", "-"));
        assert!(matches("[\\]]", "]"));
        assert!(matches("[[:digit:][:upper:]]", "Q"));
        assert!(
            matches("[[:alpha]", ":"),
            "without its colon it is a set of letters"
        );
        assert!(
            matches("[a-c-e]", "-") && !matches("[a-c-e]", "d"),
            "a range cannot start another"
        );
        assert!(!matches("a[^x]b", "a/b"), "a set never matches a slash");
    }

    #[test]
    fn what_is_malformed_matches_nothing() {
        for pattern in ["[abc", "[", "[]", "[[:nonsense:]]", "a*\\"] {
            assert!(!matches(pattern, pattern), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends_quickly() {
        let text = vec![b'a'; 4095];
        let hostile = [b"*a".repeat(2000), b"b".to_vec()].concat();
        let started = Instant::now();
        assert!(!Glob::new(&hostile).is_match(&text));
        assert!(!Glob::new(&[b"**".as_slice(), &hostile, b"*"].concat()).is_match(&text));
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "took {:?}",
            started.elapsed()
        );
    }

    /// The definition, written down naively: exponential, but plainly right.
    fn reference(tokens: &[Token], text: &[u8]) -> bool {
        match tokens {
            [] => text.is_empty(),
            [star, rest @ ..] if star.is_star() => {
                reference(rest, text)
                    || text
                        .split_first()
                        .is_some_and(|(&byte, after)| star.takes(byte) && reference(tokens, after))
            }
            [token, rest @ ..] => text
                .split_first()
                .is_some_and(|(&byte, after)| token.takes(byte) && reference(rest, after)),
        }
    }

    proptest! {
        #[test]
        fn the_automaton_agrees_with_the_definition(pattern in "[ab/*?]{0,9}", text in "[ab/]{0,9}") {
            let tokens = tokenize(pattern.as_bytes()).expect("no sets, no escapes");
            prop_assert_eq!(Glob::new(pattern.as_bytes()).is_match(text.as_bytes()), reference(&tokens, text.as_bytes()));
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern: Vec<u8>, text: Vec<u8>) {
            Glob::new(&pattern).is_match(&text);
        }

        #[test]
        fn no_set_makes_it_panic(pattern in r"[\[\]!^a:\\*/-]{0,16}", text in "[a/:-]{0,4}") {
            Glob::new(pattern.as_bytes()).is_match(text.as_bytes());
        }
    }
}
