//! What the library offers, name by name: nothing is public by accident.

use std::{collections::BTreeSet, fs, path::Path};

use syn::{Item, UseTree, Visibility};

/// Every public name, the feature that it needs after a colon.
const PUBLIC: &[&str] = &[
    "CodecChoice",
    "Connection:server",
    "Device",
    "Diagnosis",
    "Error",
    "Fault",
    "Finding",
    "Format",
    "Frame",
    "Hub",
    "Image",
    "Location",
    "Name",
    "Options",
    "PicklePort:server",
    "PixelFormat",
    "Publisher",
    "Recorder",
    "RecorderBuilder",
    "Recording",
    "RemoteStream",
    "Report",
    "Sender",
    "SenderBuilder",
    "SenderMonitor",
    "Server:server",
    "ServerBuilder:server",
    "Serving:server",
    "Side",
    "Source",
    "Stop",
    "Verdict:server",
    "Viewer",
    "ViewerBuilder",
    "Window:window",
    "WindowBuilder:window",
    "Wire:server",
    "devices",
    "diagnose",
    "diagnose_until",
    "internals:internals",
    "mask_secrets",
    "sinks_help",
    "sources_help",
    "stats",
    "streams_json",
    "streams_json_until",
    "streams_of",
    "streams_of_until",
];

/// The names that a file makes public, but for those of a glob.
fn public_names(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../framewire/src").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names = BTreeSet::new();
    for item in syn::parse_file(&text).expect("Rust").items {
        let (visibility, attributes, found) = match item {
            Item::Use(item) => {
                let mut found = Vec::new();
                leaves(&item.tree, &mut found);
                (item.vis, item.attrs, found)
            }
            Item::Mod(item) => (item.vis, item.attrs, vec![item.ident.to_string()]),
            Item::Fn(item) => (item.vis, item.attrs, vec![item.sig.ident.to_string()]),
            Item::Struct(item) => (item.vis, item.attrs, vec![item.ident.to_string()]),
            Item::Enum(item) => (item.vis, item.attrs, vec![item.ident.to_string()]),
            _ => continue,
        };
        if matches!(visibility, Visibility::Public(_)) {
            let feature = attributes.iter().find_map(feature).map(|feature| format!(":{feature}")).unwrap_or_default();
            names.extend(found.into_iter().map(|name| name + &feature));
        }
    }
    names
}

/// The feature that an attribute asks for.
fn feature(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::List(list) = &attribute.meta else { return None };
    let text = list.tokens.to_string();
    let named = attribute.path().is_ident("cfg").then(|| text.split('"').nth(1).map(Into::into));
    named.flatten()
}

fn leaves(tree: &UseTree, into: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, into),
        UseTree::Name(name) => into.push(name.ident.to_string()),
        UseTree::Rename(rename) => into.push(rename.rename.to_string()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, into)),
        UseTree::Glob(_) => {}
    }
}

#[test]
fn the_library_offers_these_names_and_no_others() {
    let mut names = public_names("lib.rs");
    names.extend(public_names("api/mod.rs"));
    let expected: BTreeSet<String> = PUBLIC.iter().map(ToString::to_string).collect();
    let more: Vec<_> = names.difference(&expected).collect();
    let fewer: Vec<_> = expected.difference(&names).collect();
    assert!(more.is_empty() && fewer.is_empty(), "public by accident: {more:?}; gone: {fewer:?}");
}
