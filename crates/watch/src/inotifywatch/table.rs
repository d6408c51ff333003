//! The table of counts.

use crate::tool::events;

/// Which rows come first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    pub(super) sort: Sort,
    /// The event to compare by; 0 for the total.
    pub(super) event: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    Ascending,
    #[default]
    Descending,
}

/// The counts of one watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) path: Vec<u8>,
    /// Every event of whatever kind.
    total: u64,
    counts: [u64; COLUMNS.len()],
}

/// Columns in their order.
const COLUMNS: [&str; 13] = [
    "access",
    "modify",
    "attrib",
    "close_write",
    "close_nowrite",
    "open",
    "moved_from",
    "moved_to",
    "move_self",
    "create",
    "delete",
    "delete_self",
    "unmount",
];

impl Row {
    pub(super) fn new(path: Vec<u8>) -> Row {
        Row {
            path,
            ..Row::default()
        }
    }

    pub(super) fn count(&mut self, mask: u32) {
        self.total += 1;
        for (column, count) in COLUMNS.iter().zip(&mut self.counts) {
            if mask & bit(column) != 0 {
                *count += 1;
            }
        }
    }

    fn key(&self, event: u32) -> u64 {
        let counts = COLUMNS.iter().zip(&self.counts);
        match event {
            0 => self.total,
            _ => counts
                .filter(|(column, _)| event & bit(column) != 0)
                .map(|(_, count)| count)
                .sum(),
        }
    }
}

/// The table; `None` if there was no event at all. `zero` keeps rows and columns of nothing.
pub(super) fn render(rows: &[Row], events: u32, order: Order, zero: bool) -> Option<Vec<u8>> {
    if rows.iter().all(|row| row.total == 0) {
        return None;
    }
    let shown: Vec<usize> = (0..COLUMNS.len())
        .filter(|&column| events & bit(COLUMNS[column]) != 0)
        .filter(|&column| zero || rows.iter().any(|row| row.counts[column] != 0))
        .collect();
    let mut rows: Vec<&Row> = rows.iter().filter(|row| zero || row.total != 0).collect();
    // Stable: rows that are equal stay in the order of their watches.
    match order.sort {
        Sort::Ascending => rows.sort_by_key(|row| row.key(order.event)),
        Sort::Descending => rows.sort_by_key(|row| std::cmp::Reverse(row.key(order.event))),
    }
    let mut table = b"total  ".to_vec();
    for &column in &shown {
        table.extend(format!("{}  ", COLUMNS[column]).bytes());
    }
    table.extend(b"filename\n");
    for row in rows {
        table.extend(format!("{:<5}  ", row.total).bytes());
        for &column in &shown {
            let width = COLUMNS[column].len();
            table.extend(format!("{:<width$}  ", row.counts[column]).bytes());
        }
        table.extend(&row.path);
        table.push(b'\n');
    }
    Some(table)
}

fn bit(column: &str) -> u32 {
    events::named(column).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let mut rows = vec![Row::new(b"./b/".to_vec()), Row::new(b"./a/".to_vec())];
        rows[0].count(events::named("create").unwrap());
        rows[1].count(events::named("modify").unwrap());
        rows[1].count(events::named("modify").unwrap() | 0x4000_0000);
        rows
    }

    fn table(order: Order, zero: bool) -> String {
        let events = events::parse_argument("create,modify,delete".as_ref()).unwrap();
        String::from_utf8(render(&rows(), events, order, zero).unwrap()).unwrap()
    }

    #[test]
    fn the_most_events_come_first() {
        let expected = "total  modify  create  filename\n\
                        2      2       0       ./a/\n\
                        1      0       1       ./b/\n";
        assert_eq!(table(Order::default(), false), expected);
    }

    #[test]
    fn by_one_event_with_columns_of_nothing() {
        let event = events::named("modify").unwrap();
        let order = Order {
            sort: Sort::Ascending,
            event,
        };
        let expected = "total  modify  create  delete  filename\n\
                        1      0       1       0       ./b/\n\
                        2      2       0       0       ./a/\n";
        assert_eq!(table(order, true), expected);
    }

    #[test]
    fn nothing_is_no_table() {
        assert!(render(&[Row::default()], events::ALL, Order::default(), true).is_none());
    }
}
