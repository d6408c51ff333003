//! The status page as a person meets it, in a real browser.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use testkit::eventually;

use crate::bench::{Bench, Mirror, SOON};
use crate::browser::Browser;
use crate::status_page::{HOSTILE, address};

/// A mirror with its page, and a browser to look at it.
struct Scene {
    // Ends before the directory of the bench goes.
    browser: Browser,
    url: String,
    mirror: Mirror,
    bench: Bench,
}

impl Scene {
    /// None where there is no browser.
    fn open(options: &[&str]) -> Option<Self> {
        Self::of(Bench::with_directory(), options)
    }

    fn of(bench: Bench, options: &[&str]) -> Option<Self> {
        let browser = Browser::start(&bench.path("browser"))?;
        bench.source.write("first", "content");
        let mut mirror = bench.start_with(&[&["--status", "127.0.0.1:0"], options].concat());
        let url = format!("http://{}/", address(&mut mirror));
        mirror.wait_in_step();
        browser.open(&url);
        Some(Self {
            browser,
            url,
            mirror,
            bench,
        })
    }

    /// How many rows of the list contain `text`.
    fn rows(&self, text: &str) -> u64 {
        let count = format!(
            "[...document.querySelectorAll('#recent tr')].filter((row) => row.textContent.includes({text:?})).length"
        );
        self.browser.value(&count).as_u64().unwrap()
    }

    #[track_caller]
    fn wait_for_rows(&self, text: &str, count: u64) {
        eventually(SOON, || match self.rows(text) {
            found if found == count => Ok(()),
            found => Err(format!("{found} rows with {text}")),
        });
    }
}

#[test]
fn what_happens_shows_by_itself() {
    let Some(scene) = Scene::open(&[]) else {
        return;
    };
    let browser = &scene.browser;
    browser.wait_for_text("#summary", "1 of 1 replicas in step");
    browser.wait_for_text(".card .state", "in-step");
    assert_eq!(scene.rows("second"), 0);
    scene.bench.source.write("second", "content");
    eventually(SOON, || match scene.rows("second") {
        0 => Err("not yet"),
        _ => Ok(()),
    });
    // The charts go on too.
    let points = "document.querySelector('#charts path')?.getAttribute('d').split('L').length ?? 0";
    let before = browser.value(points).as_u64();
    eventually(SOON, || match browser.value(points).as_u64() {
        now if now > before => Ok(()),
        now => Err(format!("{now:?} points")),
    });
    assert_eq!(browser.complaints(), [""; 0]);
    scene.mirror.stop();
    browser.wait_for_text("#summary", "no answer");
}

#[test]
fn hostile_names_are_text() {
    let Some(scene) = Scene::open(&[]) else {
        return;
    };
    scene.bench.source.write(HOSTILE, "content");
    eventually(SOON, || match scene.rows("<img src=x onerror=alert(1)>") {
        0 => Err("not yet"),
        _ => Ok(()),
    });
    assert_eq!(
        scene
            .browser
            .value("document.querySelectorAll('img').length"),
        0
    );
    // Nothing was even tried that the policy forbids.
    assert_eq!(scene.browser.complaints(), [""; 0]);
    scene.mirror.stop();
}

#[test]
fn changes_and_failures_are_searched() {
    let bench = Bench::with_directory();
    bench.replica.write("blocked/kept.bak", "only here");
    let Some(mut scene) = Scene::of(bench, &["--exclude", "*.bak"]) else {
        return;
    };
    for name in ["report one", "report two", "photo"] {
        scene.bench.source.write(name, "content");
    }
    scene.bench.source.write("blocked", "a file now");
    scene.mirror.wait_for("behind");
    let browser = &scene.browser;
    for name in ["report one", "report two", "photo", "failed"] {
        eventually(SOON, || match scene.rows(name) {
            0 => Err(name),
            _ => Ok(()),
        });
    }
    browser.type_into("#search", "TWO report");
    scene.wait_for_rows("photo", 0);
    assert_eq!(scene.rows("report one"), 0);
    assert!(scene.rows("report two") >= 1);
    assert!(browser.text("#found").contains(" of "));
    // What comes later obeys the same search.
    scene.bench.source.write("report two hundred", "content");
    scene.bench.source.write("photo again", "content");
    eventually(SOON, || match scene.rows("report two hundred") {
        0 => Err("not yet"),
        _ => Ok(()),
    });
    assert_eq!(scene.rows("photo again"), 0);
    browser.value("document.getElementById('search').value = ''");
    browser.click("button[data-kind=failures]");
    scene.wait_for_rows("report two", 0);
    assert!(scene.rows("failed") >= 1);
    let pressed = "document.querySelector('[data-kind=failures]').ariaPressed";
    assert_eq!(browser.value(pressed), "true");
    scene.mirror.stop();
}

#[test]
fn a_token_leaves_the_address_and_stays_with_the_window() {
    let bench = Bench::with_directory();
    let file = bench.path("token");
    std::fs::write(&file, "a token of some length").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let Some(scene) = Scene::of(bench, &["--status-token", &file]) else {
        return;
    };
    let browser = &scene.browser;
    assert!(!browser.text("body").contains("replicas in step"));
    browser.open(&format!(
        "{}?token=a%20token%20of%20some%20length",
        scene.url
    ));
    browser.wait_for_text("#summary", "1 of 1 replicas in step");
    assert_eq!(browser.value("location.search"), "");
    assert_eq!(browser.value("location.href"), scene.url.as_str());
    browser.wait_for_text("#found", "of");
    scene.mirror.stop();
}

#[test]
fn a_telephone_shows_all_of_it() {
    let Some(scene) = Scene::open(&[]) else {
        return;
    };
    let name = format!("{}/{}", "a".repeat(120), "b".repeat(120));
    scene.bench.source.write(Path::new(&name), "content");
    eventually(SOON, || match scene.rows(&name) {
        0 => Err("not yet"),
        _ => Ok(()),
    });
    for width in [360, 768, 1600] {
        scene.browser.resize(width, 700);
        let overhang =
            "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(scene.browser.value(overhang), 0, "{width} pixels");
    }
    scene.mirror.stop();
}
