//! Senders that know the protocol and use it against us.

use std::sync::Arc;

use wire::{Message, Xattr, XattrItem, XattrValue, put_varint};

use super::*;

/// A list of the session's format but for what `set` changes.
fn list_of(entries: &[Entry], set: impl FnOnce(&mut EntryFormat)) -> Vec<u8> {
    let mut format = EntryFormat {
        links: true,
        recursive: true,
        ..EntryFormat::minimal(Protocol::new(31).unwrap())
    };
    set(&mut format);
    let (mut encoder, mut out) = (EntryEncoder::new(format), Vec::new());
    for entry in entries {
        encoder.encode(entry, &mut out);
    }
    encoder.end(IoErrors::empty(), &mut out);
    frame(&out)
}

fn message(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(Protocol::new(31).unwrap(), &mut out);
    out
}

/// The end of the tokens, and a sum that is none.
const NO_CONTENT: [i32; 5] = [0, 1, 2, 3, 4];

#[test]
fn sizes_that_no_sum_of_theirs_can_hold() {
    let huge = |name| Entry {
        size: i64::MAX,
        ..file(name)
    };
    let tree = [
        dir("wanted"),
        huge("wanted/a"),
        huge("wanted/b"),
        huge("wanted/c"),
    ];
    let (mut answers, mut writer) = (Vec::new(), NdxWriter::new(Protocol::new(31).unwrap()));
    for number in 1..4 {
        writer.write(&mut answers, Ndx::File(number));
        put_shortint(&mut answers, 0x8000);
        let rest = [0; 4].into_iter().chain(NO_CONTENT);
        rest.for_each(|number| put_int(&mut answers, number));
    }
    let script = answering(list(&tree), 3, frame(&answers));
    let error = received_from(script, options());
    check("sizes", &error, 12, "closed");
}

#[test]
fn content_that_was_not_asked_for() {
    let unwanted = [list(&[file("wanted")]), answer(0, [0; 4], &NO_CONTENT)].concat();
    let only_existing = Options {
        existing_only: true,
        ..options()
    };
    let only_small = Options {
        max_size: Some(1),
        ..options()
    };
    for options in [only_existing, only_small] {
        let error = received_from(saying(unwanted.clone()), options);
        check("unwanted", &error, 2, "not asked for: 0");
    }
    let twice = answer(0, [0; 4], &NO_CONTENT).repeat(2);
    let script = answering(list(&[file("wanted")]), 1, twice);
    let options = Options {
        whole_file: Some(true),
        ..options()
    };
    // The first one does not verify: what follows comes before we ask again, or is an answer to that.
    let error = received_from(script, options);
    assert!(matches!(error.exit_code(), 2 | 12), "{error}");
}

/// Refusals of what nobody asked for are no answers: what was asked for is still waited for.
#[test]
fn refusals_and_other_messages_without_end() {
    let said = [
        Message::NoSend(0),
        Message::NoSend(7),
        Message::Success(0),
        Message::IoError(IoErrors::from_wire(-1)),
        Message::Deleted {
            path: b"../outside".to_vec(),
            is_dir: true,
        },
    ];
    let flood = said
        .iter()
        .map(message)
        .collect::<Vec<_>>()
        .concat()
        .repeat(5000);
    let said = [list(&[dir("wanted"), file("wanted/a")]), flood].concat();
    let error = received_from(saying(said), options());
    check("messages", &error, 12, "closed");
}

#[test]
fn ends_of_phases_without_end() {
    let done = frame(&[0; 5000]);
    let error = received_from(saying([list(&[file("wanted")]), done].concat()), options());
    assert!(matches!(error.exit_code(), 2 | 12), "{error}");
}

/// A sender that leaves over an error has not sent everything, whatever code it leaves with.
#[test]
fn no_exit_code_of_theirs_is_success() {
    for code in [0, 256, -1, i32::MIN] {
        let leaves = message(&Message::ErrorExit(Some(code)));
        let said = [list(&[file("wanted")]), leaves].concat();
        let error = received_from(saying(said), options());
        assert_ne!(error.exit_code(), 0, "{code}: {error}");
    }
}

#[test]
fn values_of_attributes_that_nobody_announced() {
    let announced = XattrItem {
        number: 0,
        attributes: Arc::new([
            Xattr {
                name: b"user.short".to_vec(),
                value: XattrValue::Whole(b"short".to_vec()),
            },
            Xattr {
                name: b"user.long".to_vec(),
                value: XattrValue::Abbreviated {
                    length: 100,
                    digest: [0; 16],
                },
            },
        ]),
    };
    let entry = Entry {
        xattrs: Some(announced),
        ..file("wanted")
    };
    let list = list_of(&[entry], |format| format.xattrs = true);
    let value = |number: i32, length: i32| {
        let mut out = Vec::new();
        NdxWriter::new(Protocol::new(31).unwrap()).write(&mut out, Ndx::File(0));
        put_shortint(&mut out, 0x0100);
        put_varint(&mut out, number);
        put_varint(&mut out, length);
        out.resize(
            out.len() + usize::try_from(length).unwrap_or(0).min(1000),
            b'v',
        );
        out.push(0);
        frame(&out)
    };
    for (name, value, code, text) in [
        ("third of two", value(3, 40), 2, "could not find xattr #3"),
        ("number 0", value(-1, 40), 2, "xattr number"),
        ("far", value(1 << 20, 40), 2, "xattr number"),
        ("negative length", value(2, -1), 2, "xattr value length"),
        ("endless", value(2, i32::MAX), 2, "xattr value length"),
        ("unfinished", value(2, 100 << 20), 12, "closed"),
    ] {
        let mut options = options();
        options.xattrs = 1;
        let error = received_from(saying([list.clone(), value].concat()), options);
        check(name, &error, code, text);
    }
}

#[test]
fn lists_of_attributes_that_cannot_be() {
    let entry = list_of(&[file("wanted")], |_| {});
    // Without the end of the list: what follows belongs to the entry.
    let entry = &entry[4..entry.len() - 1];
    for (name, numbers, text) in [
        ("item", &[7][..], "xattr index"),
        ("count", &[0, 1 << 20], "xattr count"),
        ("less than none", &[0, -1], "xattr count"),
        ("name", &[0, 1, 5000, 1], "xattr name length"),
        ("no name", &[0, 1, 0, 1], "xattr name length"),
        ("value", &[0, 1, 2, i32::MAX], "xattr value length"),
    ] {
        let mut out = entry.to_vec();
        numbers
            .iter()
            .for_each(|&number| put_varint(&mut out, number));
        let mut options = options();
        options.xattrs = 1;
        let error = received_from(saying(frame(&out)), options);
        check(name, &error, 2, text);
    }
}

/// A few bytes say "as that one" of an entry with a long target: what that takes in memory is bounded all the same.
#[test]
fn few_bytes_that_stand_for_many() {
    let target = "t".repeat(4000);
    let links: Vec<Entry> = (0..1000)
        .map(|number| Entry {
            hard_link: Some(wire::HardLink::Group(1)),
            ..link(&format!("wanted/{number}"), &target)
        })
        .collect();
    let tree = [&[dir("wanted")][..], &links].concat();
    let said = list_of(&tree, |format| format.hard_links = true);
    assert!(
        said.len() < 64 << 10,
        "the attack needs {} bytes",
        said.len()
    );
    let mut options = options();
    options.hard_links = true;
    options.max_alloc = Some(1 << 20);
    let error = received_from(saying(said), options);
    check(
        "repeated",
        &error,
        22,
        "exceeded --max-alloc=1048576 setting",
    );
}

/// A list that must not be followed does not undo those before it: as with rsync their directories are made.
#[test]
fn what_came_before_a_bad_list_counts() {
    let tree = [dir("wanted"), dir("link")];
    let evil = [file("elsewhere")];
    let said = lists(&[(None, &tree), (Some(Ndx::Dir(0)), &evil)]);
    let flags = CompatFlags::INC_RECURSE.bits() as u8;
    let error = received_and_left(saying(said), options(), flags, |inside| {
        assert!(inside.join("wanted").is_dir());
        assert!(inside.join("link").is_dir());
    });
    check("elsewhere", &error, 4, "invalid path");
}
