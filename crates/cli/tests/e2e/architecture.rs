//! The arrows of ARCHITECTURE.md, held against the sources.

use std::{collections::BTreeSet, fs, path::Path};

/// What each module of the crate may name, besides itself and what everybody may.
const ARROWS: &[(&str, &[&str])] = &[
    ("serve", &["source", "hub", "transcode", "pace", "media", "net"]),
    ("source", &["hub", "transcode", "media", "net"]),
    ("sink", &["hub", "transcode", "pace", "media", "net"]),
    ("doctor", &["hub"]),
    ("transcode", &["hub", "media"]),
    ("pace", &["net"]),
    ("hub", &[]),
    ("media", &[]),
    ("net", &[]),
    ("error", &["hub", "net", "serve"]),
    ("bad_frames", &[]),
    ("clock", &[]),
    ("stop", &[]),
    ("latency", &[]),
];
/// The leaves: small things without arrows of their own.
const FOR_ALL: &[&str] = &["bad_frames", "clock", "stop", "latency", "error", "Error"];

#[test]
fn modules_name_only_what_their_arrows_allow() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../framewire/src");
    let mut seen = BTreeSet::new();
    for path in rust_files(&root) {
        let relative = path.strip_prefix(&root).unwrap();
        let top = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if ["lib"].contains(&top.as_str()) {
            continue;
        }
        let (_, may) =
            ARROWS.iter().find(|(module, _)| *module == top).unwrap_or_else(|| panic!("{top} has no arrows"));
        for named in named_modules(&fs::read_to_string(&path).unwrap()) {
            let allowed = named == top || FOR_ALL.contains(&named.as_str()) || may.contains(&named.as_str());
            assert!(allowed, "{}: {top} may not name {named}", relative.display());
        }
        seen.insert(top);
    }
    assert_eq!(seen.len(), ARROWS.len(), "a module of the table is gone: {seen:?}");
}

#[test]
fn the_protocol_knows_no_sockets_and_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src");
    for path in rust_files(&root) {
        let text = fs::read_to_string(&path).unwrap();
        for absent in ["std::net", "std::time", "tokio", "async fn", "unsafe "] {
            assert!(!text.contains(absent), "{}: {absent}", path.display());
        }
    }
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// The first names behind each `crate::`, also those in braces.
fn named_modules(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (place, found) in text.match_indices("crate::") {
        let rest = &text[place + found.len()..];
        match rest.strip_prefix('{') {
            None => named.extend(first_name(rest)),
            Some(inside) => {
                let (mut depth, mut fresh) = (0, true);
                for (at, letter) in inside.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => fresh = true,
                        _ if depth == 0 && fresh && letter.is_alphabetic() => {
                            named.extend(first_name(&inside[at..]));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[test]
fn names_are_found_behind_every_crate() {
    let text = "use crate::{\n clock,\n hub::{Hub, Event},\n};\nlet x = crate::stop::Stop::default();";
    assert_eq!(named_modules(text), ["clock", "hub", "stop"]);
}
