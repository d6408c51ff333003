//! Signature, search and patch together: whatever was edited, the new version comes out.

use std::io;

use driftless_delta::{
    Algorithm, Blocks, FileSum, Index, Outcome, Patch, ReadAt, Signature, Sink, StrongSum, Target,
    search, weak_sum,
};
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    Block(u32),
}

#[derive(Default)]
struct Tokens(Vec<Token>);

impl Sink for Tokens {
    type Error = std::convert::Infallible;

    fn literal(&mut self, data: &[u8]) -> Result<(), Self::Error> {
        assert!(!data.is_empty());
        match self.0.last_mut() {
            Some(Token::Literal(before)) => before.extend_from_slice(data),
            _ => self.0.push(Token::Literal(data.to_vec())),
        }
        Ok(())
    }

    fn matched(&mut self, block: u32, _: &[u8]) -> Result<(), Self::Error> {
        self.0.push(Token::Block(block));
        Ok(())
    }
}

/// A source that gives less than was asked for, as pipes and some file systems do.
fn in_pieces(data: &[u8], piece: usize) -> impl ReadAt {
    move |offset: u64, buffer: &mut [u8]| {
        let rest = &data[(offset as usize).min(data.len())..];
        let count = rest.len().min(buffer.len()).min(piece);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

fn signature(basis: &[u8], block_len: u32, strong: &StrongSum) -> Signature {
    let blocks = Blocks::divide(basis.len() as u64, block_len, 2).expect("few blocks");
    let read = |offset: u64, buffer: &mut [u8]| {
        let rest = basis.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    };
    Signature::of(&read, blocks, strong).expect("a slice is readable")
}

fn tokens(basis: &[u8], new: &[u8], block_len: u32, in_place: bool) -> (Vec<Token>, Outcome) {
    let strong = StrongSum::new(Algorithm::Xxh3, 7, true);
    let signature = signature(basis, block_len, &strong);
    let mut sink = Tokens::default();
    let index = Index::new(&signature);
    let len = new.len() as u64;
    let Ok(outcome) = search(
        &mut in_pieces(new, 100_000),
        len,
        &index,
        &strong,
        in_place,
        &mut sink,
    );
    (sink.0, outcome)
}

fn rebuilt(basis: &[u8], tokens: &[Token], block_len: u32) -> Vec<u8> {
    let blocks = Blocks::divide(basis.len() as u64, block_len, 2).expect("few blocks");
    let sum = FileSum::new(Algorithm::Md5);
    let mut patch = Patch::new(in_pieces(basis, 333), blocks, false, Vec::new(), sum);
    apply(tokens, &mut patch);
    let (new, digest) = patch.finish();
    let mut expected = FileSum::new(Algorithm::Md5);
    expected.update(&new);
    assert_eq!(digest, expected.finish());
    new
}

fn apply<B: ReadAt, T: Target>(tokens: &[Token], patch: &mut Patch<B, T>) {
    for token in tokens {
        match token {
            Token::Literal(data) => patch.literal(data),
            Token::Block(block) => patch.copy(*block),
        }
        .expect("the basis is there");
    }
    patch.settle().expect("the basis is there");
}

/// The file that is its own basis.
struct InPlace<'a> {
    file: &'a std::cell::RefCell<Vec<u8>>,
    at: usize,
    kept: u64,
}

impl Target for InPlace<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let mut file = self.file.borrow_mut();
        let end = self.at + data.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[self.at..end].copy_from_slice(data);
        self.at = end;
        Ok(())
    }

    fn keep(&mut self, data: &[u8]) -> io::Result<()> {
        assert_eq!(
            &self.file.borrow()[self.at..self.at + data.len()],
            data,
            "what is kept is what was there"
        );
        self.at += data.len();
        self.kept += data.len() as u64;
        Ok(())
    }
}

fn rebuilt_in_place(basis: &[u8], tokens: &[Token], block_len: u32) -> (Vec<u8>, u64) {
    let blocks = Blocks::divide(basis.len() as u64, block_len, 2).expect("few blocks");
    let file = std::cell::RefCell::new(basis.to_vec());
    let read = |offset: u64, buffer: &mut [u8]| {
        let file = file.borrow();
        in_pieces(&file, usize::MAX).read_at(offset, buffer)
    };
    let target = InPlace {
        file: &file,
        at: 0,
        kept: 0,
    };
    let mut patch = Patch::new(read, blocks, true, target, FileSum::new(Algorithm::None));
    apply(tokens, &mut patch);
    let (target, _) = patch.finish();
    let (at, kept) = (target.at, target.kept);
    let mut new = file.take();
    new.truncate(at);
    (new, kept)
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(usize, Vec<u8>),
    Delete(usize, usize),
    Overwrite(usize, Vec<u8>),
    Move(usize, usize, usize),
}

fn edited(mut data: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let len = data.len();
        let clip = |at: usize| at.min(len);
        match edit {
            Edit::Insert(at, new) => drop(data.splice(clip(*at)..clip(*at), new.iter().copied())),
            Edit::Delete(at, count) => drop(data.drain(clip(*at)..clip(at + count))),
            Edit::Overwrite(at, new) => {
                drop(data.splice(clip(*at)..clip(at + new.len()), new.iter().copied()));
            }
            Edit::Move(at, count, to) => {
                let part: Vec<u8> = data.drain(clip(*at)..clip(at + count)).collect();
                let to = (*to).min(data.len());
                drop(data.splice(to..to, part));
            }
        }
    }
    data
}

/// Few different bytes, so that blocks recur.
fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..max),
        prop::collection::vec(0..2_u8, 0..max)
    ]
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (0..3000_usize, bytes(300)).prop_map(|(at, new)| Edit::Insert(at, new)),
        (0..3000_usize, 0..500_usize).prop_map(|(at, count)| Edit::Delete(at, count)),
        (0..3000_usize, bytes(300)).prop_map(|(at, new)| Edit::Overwrite(at, new)),
        (0..3000_usize, 0..500_usize, 0..3000_usize)
            .prop_map(|(at, count, to)| Edit::Move(at, count, to)),
    ];
    prop::collection::vec(edit, 0..5)
}

proptest! {
    #[test]
    fn any_edit_is_reproduced(basis in bytes(3000), edits in edits(), block_len in 1_u32..200) {
        let new = edited(basis.clone(), &edits);
        let (tokens, outcome) = tokens(&basis, &new, block_len, false);
        prop_assert!(outcome.damage.is_none());
        prop_assert_eq!(outcome.matched + outcome.literal, new.len() as u64);
        prop_assert_eq!(rebuilt(&basis, &tokens, block_len), new);
    }

    #[test]
    fn any_edit_is_reproduced_in_place(basis in bytes(3000), edits in edits(), block_len in 1_u32..200) {
        let new = edited(basis.clone(), &edits);
        let (tokens, _) = tokens(&basis, &new, block_len, true);
        prop_assert_eq!(rebuilt_in_place(&basis, &tokens, block_len).0, new);
    }
}

/// Bytes without any pattern a block could recur in.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn an_unchanged_file_is_all_blocks() {
    let data = noise(1_000_500);
    let (tokens, outcome) = tokens(&data, &data, 700, false);
    let expected: Vec<Token> = (0..1430).map(Token::Block).collect();
    assert_eq!(tokens, expected);
    assert_eq!((outcome.matched, outcome.literal), (1_000_500, 0));
}

#[test]
fn only_the_edited_blocks_of_a_large_file_travel() {
    let basis = noise(3_000_000);
    let mut new = basis.clone();
    new.splice(1_000_000..1_000_000, *b"inserted");
    new[2_500_000] ^= 1;
    let (tokens, outcome) = tokens(&basis, &new, 1000, false);
    assert!(
        outcome.literal <= 8 + 2 * 1000,
        "{} literal bytes",
        outcome.literal
    );
    assert_eq!(rebuilt(&basis, &tokens, 1000), new);
}

#[test]
fn a_run_of_equal_blocks_is_kept_in_order() {
    let zeros = vec![0; 7000];
    let in_order: Vec<Token> = (0..10).map(Token::Block).collect();
    assert_eq!(tokens(&zeros, &zeros, 700, false).0, in_order);
    assert_eq!(tokens(&zeros, &zeros, 700, true).0, in_order);
}

#[test]
fn in_place_nothing_is_written_where_nothing_changed() {
    let basis = noise(70_000);
    let mut new = basis.clone();
    new[35_100] ^= 1;
    let (tokens, _) = tokens(&basis, &new, 700, true);
    let (rebuilt, kept) = rebuilt_in_place(&basis, &tokens, 700);
    assert_eq!((rebuilt, kept), (new, 70_000 - 700));
}

#[test]
fn in_place_a_block_that_is_gone_is_not_used() {
    let basis = noise(1400);
    let swapped = [&basis[700..], &basis[..700]].concat();
    let (tokens, outcome) = tokens(&basis, &swapped, 700, true);
    assert_eq!(tokens[0], Token::Block(1));
    assert_eq!(
        outcome.literal, 700,
        "the first block was overwritten by the second"
    );
}

#[test]
fn the_short_last_block_is_found_at_the_end_only() {
    let basis = noise(1000);
    let (at_end, _) = tokens(&basis, &[b"x", &basis[700..]].concat(), 700, false);
    assert_eq!(at_end, [Token::Literal(b"x".to_vec()), Token::Block(1)]);
    let (not_at_end, _) = tokens(&basis, &[&basis[700..], b"x"].concat(), 700, false);
    assert_eq!(not_at_end, [Token::Literal([&basis[700..], b"x"].concat())]);
}

#[test]
fn a_file_that_shrinks_is_filled_with_zeros_and_reported() {
    let data = noise(2000);
    let strong = StrongSum::new(Algorithm::Md5, 0, true);
    let signature = signature(&data, 700, &strong);
    let mut sink = Tokens::default();
    let index = Index::new(&signature);
    let Ok(outcome) = search(
        &mut in_pieces(&data[..1000], 4096),
        2000,
        &index,
        &strong,
        false,
        &mut sink,
    );
    assert!(outcome.damage.is_some());
    let new = rebuilt(&data, &sink.0, 700);
    assert_eq!(new, [&data[..1000], &[0; 1000]].concat());
}

#[test]
fn a_block_that_does_not_exist_is_refused() {
    let blocks = Blocks::divide(1000, 700, 2).expect("few blocks");
    let mut patch = Patch::new(
        in_pieces(&[0; 1000], 10),
        blocks,
        false,
        Vec::new(),
        FileSum::new(Algorithm::None),
    );
    assert!(patch.copy(1).is_ok());
    assert!(patch.copy(2).is_err());
}

#[test]
fn sums_that_all_collide_do_not_stop_the_search() {
    // Half a million blocks with the weak sum of zeros and strong sums of nothing that is there.
    let blocks = Blocks::new(500_000, 700, 16, 0, Blocks::MAX_LEN, 16).expect("in bounds");
    let mut signature = Signature::new(blocks);
    (0..500_000).for_each(|_| signature.push(0, &[1; 16]));
    let strong = StrongSum::new(Algorithm::Md5, 0, true);
    let mut sink = Tokens::default();
    let zeros = vec![0; 3000];
    let Ok(outcome) = search(
        &mut in_pieces(&zeros, 4096),
        3000,
        &Index::new(&signature),
        &strong,
        false,
        &mut sink,
    );
    assert_eq!(outcome.literal, 3000);
}

#[test]
fn several_threads_sum_what_one_would() {
    let data: Vec<u8> = (0..5_000_011_usize)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let strong = StrongSum::new(Algorithm::Xxh3, 7, true);
    let together = signature(&data, 2232, &strong);
    let mut one_by_one = Signature::new(*together.blocks());
    for block in data.chunks(2232) {
        one_by_one.push(weak_sum(block), &strong.block_sum(block));
    }
    assert_eq!(together, one_by_one);
}
