//! Owners of the sender's machine and of ours (wire-files.md 7.3).

use std::collections::HashMap;
use std::sync::Arc;

use filter::Glob;
use wire::{Acl, IdName, Named};

use crate::Error;
use crate::accounts::Accounts;
use crate::event::{Class, Role};
use crate::flist::Entry;
use crate::options::Options;
use crate::owners::OwnerNames;
use crate::report::Reporter;

/// Which of our ids stands for one of the sender's.
#[derive(Debug)]
pub(crate) struct IdMap {
    users: Table,
    groups: Table,
    /// Owners of files are mapped; those in access control lists are in any case.
    maps_users: bool,
    maps_groups: bool,
    /// Lists that were mapped already.
    acls: HashMap<Arc<Acl>, Arc<Acl>>,
}

/// One kind of ids.
#[derive(Debug)]
struct Table {
    of_users: bool,
    accounts: Arc<dyn Accounts>,
    rules: Vec<Rule>,
    /// Ids are mapped by their names at all.
    by_name: bool,
    names: HashMap<u32, IdName>,
    known: HashMap<u32, u32>,
}

/// A rule of `--usermap` or `--groupmap`.
#[derive(Debug)]
struct Rule {
    from: From,
    to: u32,
}

#[derive(Debug)]
enum From {
    Ids(std::ops::RangeInclusive<u32>),
    Name(Vec<u8>),
    Pattern(Glob),
}

impl IdMap {
    /// The map of a receiving side. Names in it that nobody has are reported.
    ///
    /// # Errors
    /// Maps that cannot be read.
    pub(crate) fn new(options: &Options, report: &Reporter<'_>) -> Result<Self, Error> {
        let is_root = options.acts_as_root();
        let users = Table::new(true, options.usermap.as_deref(), options, report)?;
        let groups = Table::new(false, options.groupmap.as_deref(), options, report)?;
        Ok(Self {
            maps_users: options.owner && is_root && users.maps(),
            maps_groups: options.group && (groups.maps() || !is_root),
            users,
            groups,
            acls: HashMap::new(),
        })
    }

    /// Takes note of the names that come with an entry.
    pub(crate) fn learn(&mut self, entry: &wire::Entry) {
        if let Some(name) = &entry.user_name {
            self.name(true, entry.uid, name);
        }
        if let Some(name) = &entry.group_name {
            self.name(false, entry.gid, name);
        }
        let lists = [&entry.acl, &entry.default_acl];
        for named in lists.into_iter().flatten().flat_map(|acl| &acl.named) {
            if let Some(name) = &named.name {
                self.name(named.kind == Named::User, named.id, name);
            }
        }
    }

    /// Takes note of a name.
    pub(crate) fn name(&mut self, of_user: bool, id: u32, name: &[u8]) {
        let table = match of_user {
            true => &mut self.users,
            false => &mut self.groups,
        };
        let is_news = table.names.get(&id).is_none_or(|known| **known != *name);
        if is_news && !name.is_empty() {
            table.names.insert(id, name.into());
            table.known.remove(&id);
        }
    }

    /// Replaces the sender's ids by ours.
    ///
    /// # Errors
    /// Those of [`Accounts`].
    pub(crate) fn map_entry(&mut self, entry: &mut Entry) -> Result<(), Error> {
        if self.maps_users {
            entry.uid = self.users.map(entry.uid)?;
        }
        if self.maps_groups {
            entry.gid = self.groups.map(entry.gid)?;
        }
        if let Some(extra) = &mut entry.extra {
            for acl in extra.acls.iter_mut().flatten() {
                self.map_acl(acl)?;
            }
        }
        Ok(())
    }

    fn map_acl(&mut self, acl: &mut Arc<Acl>) -> Result<(), Error> {
        if acl.named.is_empty() {
            return Ok(());
        }
        if let Some(known) = self.acls.get(acl) {
            *acl = Arc::clone(known);
            return Ok(());
        }
        let sent = Arc::clone(acl);
        for entry in &mut Arc::make_mut(acl).named {
            entry.id = match entry.kind {
                Named::User => self.users.map(entry.id)?,
                Named::Group => self.groups.map(entry.id)?,
            };
        }
        self.acls.insert(sent, Arc::clone(acl));
        Ok(())
    }
}

/// The map of a copy on one machine, where only rules change anything.
#[derive(Debug)]
pub(crate) struct LocalMap {
    ids: IdMap,
    names: OwnerNames,
    by_name: bool,
}

impl LocalMap {
    /// `None` if there are no rules.
    ///
    /// # Errors
    /// Maps that cannot be read.
    pub(crate) fn new(options: &Options, report: &Reporter<'_>) -> Result<Option<Self>, Error> {
        let ids = IdMap::new(options, report)?;
        let has_rules = options.usermap.is_some() || options.groupmap.is_some();
        Ok(has_rules.then(|| Self {
            ids,
            names: OwnerNames::new(&options.accounts),
            by_name: options.minds_names(),
        }))
    }

    /// Replaces the ids of an entry.
    ///
    /// # Errors
    /// Those of [`Accounts`].
    pub(crate) fn map(&mut self, entry: &mut Entry) -> Result<(), Error> {
        if self.by_name {
            self.learn(true, entry.uid)?;
            self.learn(false, entry.gid)?;
            let lists = [entry.acl(), entry.default_acl()];
            for named in lists.into_iter().flatten().flat_map(|acl| &acl.named) {
                self.learn(named.kind == Named::User, named.id)?;
            }
        }
        self.ids.map_entry(entry)
    }

    fn learn(&mut self, of_user: bool, id: u32) -> Result<(), Error> {
        let name = match of_user {
            true => self.names.find_user(id)?,
            false => self.names.find_group(id)?,
        };
        if let Some(name) = name {
            self.ids.name(of_user, id, &name);
        }
        Ok(())
    }
}

impl Table {
    fn new(
        of_users: bool,
        map: Option<&[u8]>,
        options: &Options,
        report: &Reporter<'_>,
    ) -> Result<Self, Error> {
        let mut table = Self {
            of_users,
            accounts: Arc::clone(&options.accounts),
            by_name: options.minds_names(),
            rules: Vec::new(),
            names: HashMap::new(),
            known: HashMap::new(),
        };
        // rsync reads them from the last to the first, which shows if several are wrong.
        let rules = map
            .into_iter()
            .flat_map(|map| map.rsplit(|&byte| byte == b','));
        for rule in rules {
            table.rule(rule, report)?;
        }
        table.rules.reverse();
        Ok(table)
    }

    fn maps(&self) -> bool {
        self.by_name || !self.rules.is_empty()
    }

    fn map(&mut self, id: u32) -> Result<u32, Error> {
        if !self.maps() {
            return Ok(id);
        }
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        // Older peers do not tell the name of id 0.
        let assumed = (id == 0 && self.by_name).then_some(b"root".as_slice());
        let name = self.names.get(&id).map(|name| &**name).or(assumed);
        let rule = self.rules.iter().find(|rule| match &rule.from {
            From::Ids(ids) => ids.contains(&id),
            From::Name(wanted) => name.unwrap_or_default() == wanted.as_slice(),
            From::Pattern(pattern) => pattern.is_match(name.unwrap_or_default()),
        });
        let ours = match (rule, name) {
            (Some(rule), _) => rule.to,
            // Id 0 is the same everywhere, whatever it is called.
            (None, Some(name)) if id != 0 && self.by_name => self.local(name)?.unwrap_or(id),
            (None, _) => id,
        };
        self.known.insert(id, ours);
        Ok(ours)
    }

    /// Our id of a name.
    fn local(&self, name: &[u8]) -> Result<Option<u32>, Error> {
        match self.of_users {
            true => self.accounts.uid(name),
            false => self.accounts.gid(name),
        }
    }

    /// Reads `FROM:TO`.
    fn rule(&mut self, rule: &[u8], report: &Reporter<'_>) -> Result<(), Error> {
        let option = if self.of_users {
            "--usermap"
        } else {
            "--groupmap"
        };
        let shown = String::from_utf8_lossy(rule);
        let refuse = |text: String| Err(Error::fatal(1, Role::ReceivingSide, text, None));
        let Some(colon) = rule.iter().position(|&byte| byte == b':') else {
            return refuse(format!("No colon found in {option}: {shown}"));
        };
        let (from, to) = (&rule[..colon], &rule[colon + 1..]);
        if to.is_empty() {
            return refuse(format!("No name found after colon {option}: {shown}"));
        }
        let from = match from {
            [b'0'..=b'9', ..] => match range(from) {
                Some(ids) => From::Ids(ids),
                None => return refuse(wrong_number(option, from)),
            },
            from if from.iter().any(|byte| b"*?[".contains(byte)) => From::Pattern(Glob::new(from)),
            from => From::Name(from.to_vec()),
        };
        let to = if to.iter().all(u8::is_ascii_digit) {
            match number(to) {
                Some(id) => id,
                None => return refuse(too_large(to)),
            }
        } else if let Some(id) = self.local(to)? {
            id
        } else {
            let shown = String::from_utf8_lossy(to);
            let text = format!("Unknown {option} name on receiver: {shown}");
            report.say(Class::Warning, Role::ReceivingSide, text);
            return Ok(());
        };
        self.rules.push(Rule { from, to });
        Ok(())
    }
}

/// What is wrong with the left side of a rule that starts like a number.
fn wrong_number(option: &str, from: &[u8]) -> String {
    let mut ends = from.split(|&byte| byte == b'-');
    match ends
        .find(|end| !end.is_empty() && end.iter().all(u8::is_ascii_digit) && number(end).is_none())
    {
        Some(end) => too_large(end),
        None => format!(
            "Invalid number in {option}: {}",
            String::from_utf8_lossy(from)
        ),
    }
}

fn too_large(number: &[u8]) -> String {
    format!("Invalid ID number: {}", String::from_utf8_lossy(number))
}

fn range(text: &[u8]) -> Option<std::ops::RangeInclusive<u32>> {
    let mut ends = text.splitn(2, |&byte| byte == b'-');
    let low = number(ends.next()?)?;
    let high = ends.next().map_or(Some(low), number)?;
    Some(low..=high)
}

fn number(text: &[u8]) -> Option<u32> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use wire::{NamedAccess, Side};

    use super::*;

    fn map(users: &str, set: impl Fn(&mut Options)) -> Result<IdMap, Error> {
        let mut options = Options::archive(Side::Client);
        options.privilege = crate::Privilege::Super;
        options.usermap = Some(users.into());
        set(&mut options);
        IdMap::new(&options, &Reporter::new(&|_: crate::Event<'_>| {}))
    }

    fn mapped(ids: &mut IdMap, uid: u32) -> u32 {
        let mut entry = Entry {
            uid,
            ..Entry::default()
        };
        ids.map_entry(&mut entry).unwrap();
        entry.uid
    }

    #[test]
    fn the_first_rule_that_takes_an_id_decides() {
        let mut ids = map("joe:7,5-6:8,j*:9,:10", |_| {}).unwrap();
        for (id, name) in [(1, "joe"), (2, "jane"), (5, "jim"), (3, "ann")] {
            ids.name(true, id, name.as_bytes());
        }
        for (id, ours) in [(1, 7), (2, 9), (5, 8), (6, 8), (3, 3), (4, 10), (0, 0)] {
            assert_eq!(mapped(&mut ids, id), ours, "{id}");
        }
        // A name that comes later than its id counts from then on.
        ids.name(true, 4, b"joe");
        assert_eq!(mapped(&mut ids, 4), 7);
    }

    #[test]
    fn names_do_not_count_where_only_numbers_do() {
        let numeric = |options: &mut Options| options.numeric_ids = true;
        let mut ids = map("root:7,:8", numeric).unwrap();
        assert_eq!(mapped(&mut ids, 0), 8);
        let mut ids = map("root:7,:8", |_| {}).unwrap();
        assert_eq!(mapped(&mut ids, 0), 7);
    }

    #[test]
    fn ordinary_users_map_only_groups_and_lists() {
        let mut ids = map("*:7", |options| options.privilege = crate::Privilege::Never).unwrap();
        assert_eq!(mapped(&mut ids, 1), 1);
        let named = NamedAccess {
            kind: Named::User,
            id: 1,
            access: 4,
            name: None,
        };
        let mut acl = Arc::new(Acl {
            named: vec![named],
            ..Acl::default()
        });
        let shared = Arc::clone(&acl);
        ids.map_acl(&mut acl).unwrap();
        assert_eq!(acl.named[0].id, 7);
        let mut again = shared;
        ids.map_acl(&mut again).unwrap();
        assert!(Arc::ptr_eq(&acl, &again));
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        for (rules, text) in [
            ("a", "No colon found in --usermap: a"),
            ("a:1,", "No colon found in --usermap: "),
            ("a:", "No name found after colon --usermap: a:"),
            ("1-x:2", "Invalid number in --usermap: 1-x"),
            ("1-2-3:4", "Invalid number in --usermap: 1-2-3"),
            ("99999999999:1", "Invalid ID number: 99999999999"),
            ("1:99999999999", "Invalid ID number: 99999999999"),
        ] {
            let error = map(rules, |_| {}).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (text, 1));
        }
    }
}
