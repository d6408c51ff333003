//! The watched directories as a tree of names.
//!
//! A node knows its name and its parent, never its path: renaming a directory with a million others
//! below it changes one node, and no path can be stale. Directories are found by watch descriptor (for
//! events) and by parent and name (for changes of the tree).

use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use hashbrown::{DefaultHashBuilder, HashTable};

/// A directory. Valid until [`Names::remove`]; then the number is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u32);

/// The tree. About 90 bytes for each directory, name included.
pub(crate) struct Names {
    nodes: Vec<Node>,
    /// Nodes by (parent, name), detached ones left out.
    places: HashTable<u32>,
    /// Nodes by watch descriptor.
    watches: HashTable<u32>,
    /// First free node; free ones are chained by `next`.
    free: u32,
    hasher: DefaultHashBuilder,
}

struct Node {
    parent: u32,
    first_child: u32,
    /// Siblings, both ways, so that a directory leaves its parent in constant time.
    next: u32,
    previous: u32,
    watch: i32,
    name: Box<[u8]>,
}

const NONE: u32 = u32::MAX;
/// Marks free nodes, where used ones have a sibling.
const FREE: u32 = u32::MAX - 1;
/// Watch descriptors start at 1.
const UNWATCHED: i32 = -1;

impl Names {
    /// The root, which has neither name nor parent.
    pub(crate) const ROOT: NodeId = NodeId(0);

    /// A tree with nothing but the root.
    pub(crate) fn new() -> Names {
        Names {
            nodes: vec![Node::detached(Box::default())],
            places: HashTable::new(),
            watches: HashTable::new(),
            free: NONE,
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// How many directories have a watch.
    pub(crate) fn watched(&self) -> usize {
        self.watches.len()
    }

    /// Adds a directory at a place that is free.
    pub(crate) fn insert(&mut self, parent: NodeId, name: &[u8]) -> NodeId {
        let node = Node::detached(name.into());
        let id = if self.free == NONE {
            // 2^32 directories would need more memory than their watches leave.
            let id = u32::try_from(self.nodes.len()).expect("fewer than 2^32 directories");
            self.nodes.push(node);
            id
        } else {
            let id = self.free;
            self.free = self.nodes[id as usize].next;
            self.nodes[id as usize] = node;
            id
        };
        self.link(id, parent.0);
        NodeId(id)
    }

    /// The directory at a place.
    pub(crate) fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let hash = self.hasher.hash_one((parent.0, name));
        self.places
            .find(hash, |&id| {
                let node = &self.nodes[id as usize];
                node.parent == parent.0 && *node.name == *name
            })
            .map(|&id| NodeId(id))
    }

    /// The directory that has this watch.
    pub(crate) fn by_watch(&self, watch: i32) -> Option<NodeId> {
        self.watches
            .find(self.hasher.hash_one(watch), |&id| {
                self.nodes[id as usize].watch == watch
            })
            .map(|&id| NodeId(id))
    }

    pub(crate) fn watch(&self, id: NodeId) -> Option<i32> {
        let watch = self.nodes[id.0 as usize].watch;
        (watch != UNWATCHED).then_some(watch)
    }

    pub(crate) fn set_watch(&mut self, id: NodeId, watch: Option<i32>) {
        let old = self.nodes[id.0 as usize].watch;
        if old != UNWATCHED
            && let Ok(entry) = self
                .watches
                .find_entry(self.hasher.hash_one(old), |&other| other == id.0)
        {
            entry.remove();
        }
        self.nodes[id.0 as usize].watch = watch.unwrap_or(UNWATCHED);
        if let Some(watch) = watch {
            let (nodes, hasher) = (&self.nodes, &self.hasher);
            self.watches
                .insert_unique(hasher.hash_one(watch), id.0, |&other| {
                    hasher.hash_one(nodes[other as usize].watch)
                });
        }
    }

    /// Where the directory is; `None` for the root and for detached ones.
    pub(crate) fn place(&self, id: NodeId) -> Option<(NodeId, &[u8])> {
        let node = &self.nodes[id.0 as usize];
        (node.parent != NONE).then_some((NodeId(node.parent), &*node.name))
    }

    /// Takes the directory and all below it out of its place; its nodes stay.
    pub(crate) fn detach(&mut self, id: NodeId) {
        if self.nodes[id.0 as usize].parent != NONE {
            self.unlink(id.0);
        }
    }

    /// Puts a detached directory to a place that is free.
    pub(crate) fn attach(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        self.nodes[id.0 as usize].name = name.into();
        self.link(id.0, parent.0);
    }

    /// Forgets the directory and all below it; calls `forgotten` with each and its watch.
    pub(crate) fn remove(&mut self, id: NodeId, mut forgotten: impl FnMut(NodeId, Option<i32>)) {
        debug_assert_ne!(self.nodes[id.0 as usize].previous, FREE, "forgotten twice");
        self.detach(id);
        let mut rest = vec![id.0];
        while let Some(id) = rest.pop() {
            rest.extend(self.children(NodeId(id)).map(|child| child.0));
            forgotten(NodeId(id), self.watch(NodeId(id)));
            self.set_watch(NodeId(id), None);
            self.unplace(id);
            self.nodes[id as usize] = Node::detached(Box::default());
            self.nodes[id as usize].next = self.free;
            self.nodes[id as usize].previous = FREE;
            self.free = id;
        }
    }

    /// The directories directly below.
    pub(crate) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let mut next = self.nodes[id.0 as usize].first_child;
        std::iter::from_fn(move || {
            let id = (next != NONE).then_some(NodeId(next))?;
            next = self.nodes[next as usize].next;
            Some(id)
        })
    }

    /// Whether `id` is `ancestor` or somewhere below it.
    pub(crate) fn is_within(&self, id: NodeId, ancestor: NodeId) -> bool {
        let mut at = id.0;
        while at != NONE {
            if at == ancestor.0 {
                return true;
            }
            at = self.nodes[at as usize].parent;
        }
        false
    }

    /// The path relative to the root; `None` below a detached directory.
    pub(crate) fn path(&self, id: NodeId) -> Option<PathBuf> {
        let mut names = Vec::new();
        let mut at = id.0;
        while at != Self::ROOT.0 {
            let node = &self.nodes[at as usize];
            if node.parent == NONE {
                return None;
            }
            names.push(&*node.name);
            at = node.parent;
        }
        names.reverse();
        Some(std::ffi::OsString::from_vec(names.join(&b'/')).into())
    }

    /// The path of an entry in a directory; an empty name means the directory itself.
    pub(crate) fn path_of(&self, dir: NodeId, name: &[u8]) -> Option<PathBuf> {
        let mut path = self.path(dir)?;
        if !name.is_empty() {
            path.push(OsStr::from_bytes(name));
        }
        Some(path)
    }

    fn link(&mut self, id: u32, parent: u32) {
        debug_assert!(!self.is_within(NodeId(parent), NodeId(id)), "a circle");
        let first = self.nodes[parent as usize].first_child;
        if first != NONE {
            self.nodes[first as usize].previous = id;
        }
        self.nodes[parent as usize].first_child = id;
        let node = &mut self.nodes[id as usize];
        (node.parent, node.next, node.previous) = (parent, first, NONE);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash = |&id: &u32| {
            let node = &nodes[id as usize];
            hasher.hash_one((node.parent, &*node.name))
        };
        self.places.insert_unique(hash(&id), id, hash);
    }

    fn unlink(&mut self, id: u32) {
        self.unplace(id);
        let Node {
            parent,
            next,
            previous,
            ..
        } = self.nodes[id as usize];
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous == NONE {
            self.nodes[parent as usize].first_child = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        let node = &mut self.nodes[id as usize];
        (node.parent, node.next, node.previous) = (NONE, NONE, NONE);
    }

    fn unplace(&mut self, id: u32) {
        let node = &self.nodes[id as usize];
        let hash = self.hasher.hash_one((node.parent, &*node.name));
        if let Ok(entry) = self.places.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
    }
}

impl Node {
    fn detached(name: Box<[u8]>) -> Node {
        Node {
            parent: NONE,
            first_child: NONE,
            next: NONE,
            previous: NONE,
            watch: UNWATCHED,
            name,
        }
    }
}
