//! Waiting for a condition, the only kind of waiting a test may do.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Polls `condition` until it is `Ok`, and returns what it holds.
///
/// The pauses grow from 1 to 50 ms, so that a quick answer is noticed at once and a slow one does
/// not cost the machine the time it needs. `deadline` is how long to try, counted from the call; the
/// condition is looked at once more after it has passed, because the last pause may have been
/// stretched by a busy machine.
///
/// # Panics
///
/// When the deadline passes, with the last error: what was still missing.
#[track_caller]
pub fn eventually<T, E: Display>(
    deadline: Duration,
    mut condition: impl FnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let expired = start.elapsed() >= deadline;
        match condition() {
            Ok(value) => return value,
            Err(missing) if expired => {
                panic!("still not so after {deadline:?}:\n{missing}");
            }
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_value_once_the_condition_holds() {
        let mut attempts = 0;
        let value = eventually(Duration::from_secs(60), || {
            attempts += 1;
            if attempts == 5 {
                Ok(attempts)
            } else {
                Err("too early")
            }
        });
        assert_eq!(value, 5);
    }

    #[test]
    #[should_panic(expected = "last difference")]
    fn panics_with_the_last_difference() {
        let mut attempts = 0;
        eventually(Duration::from_millis(1), || -> Result<(), String> {
            attempts += 1;
            // Every look costs a pause of at least a millisecond, so the deadline has passed at the second.
            Err(if attempts < 2 {
                "first".into()
            } else {
                "last difference".to_owned()
            })
        });
    }
}
