//! A crate's files together: what the names in them stand for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path as FilePath,
};

use super::parse::{Import, Name, Path, Source};

/// How many renamings a name is followed through.
const FOLLOWED: usize = 5;

/// The sources of a crate.
pub(super) struct Crate {
    pub(super) sources: Vec<Source>,
    modules: BTreeSet<Path>,
    items: BTreeSet<Path>,
    /// Modules that are compiled only for tests.
    tests: BTreeSet<Path>,
    imports: BTreeMap<Path, Vec<(Option<String>, Name)>>,
}

impl Crate {
    /// Reads all that is below this folder.
    pub(super) fn read(folder: &FilePath) -> Self {
        let mut files = Vec::new();
        rust_files(folder, folder, &mut files);
        assert!(!files.is_empty(), "{} has no Rust file", folder.display());
        Self::of(files.iter().map(|(file, text)| Source::parse(file, text)).collect())
    }

    /// A crate of these files.
    pub(super) fn of(sources: Vec<Source>) -> Self {
        let all = sources.iter().flat_map(|source| &source.modules);
        let modules = all.clone().map(|module| module.path.clone()).collect();
        let items = sources.iter().flat_map(|source| source.items.iter().cloned()).collect();
        let tests = all.filter(|module| module.test).map(|module| module.path.clone()).collect();
        let mut imports: BTreeMap<Path, Vec<_>> = BTreeMap::new();
        for Import { alias, name } in sources.iter().flat_map(|source| &source.imports) {
            imports.entry(name.module.clone()).or_default().push((alias.clone(), name.clone()));
        }
        Self { sources, modules, items, tests, imports }
    }

    /// All that a name may stand for: as it is written, and behind each `use` that gives it another name. Names of this
    /// crate begin with `crate`, others with their crate's.
    pub(super) fn resolve(&self, name: &Name) -> BTreeSet<Path> {
        let mut found = BTreeSet::new();
        self.follow(name, &mut found, FOLLOWED);
        found
    }

    fn follow(&self, name: &Name, found: &mut BTreeSet<Path>, left: usize) {
        let module = &name.module;
        match name.path[0].as_str() {
            _ if name.absolute => self.add(name.path.clone(), found, left),
            "crate" => self.add(name.path.clone(), found, left),
            "self" => self.add(inside(module, &name.path[1..]), found, left),
            "super" => {
                let up = name.path.iter().take_while(|segment| *segment == "super").count();
                let kept = module.len().saturating_sub(up);
                self.add(inside(&module[..kept], &name.path[up..]), found, left);
            }
            first if self.modules.contains(&[module.as_slice(), &[first.to_owned()]].concat()) => {
                self.add(inside(module, &name.path), found, left);
            }
            // Another crate, or what a `use` of this module has brought.
            _ => {
                self.add(name.path.clone(), found, left);
                self.imported(module, &name.path, found, left);
            }
        }
    }

    /// Adds an absolute path, and what it stands for where a module on its way has it from a `use`.
    fn add(&self, path: Path, found: &mut BTreeSet<Path>, left: usize) {
        let path = standard(path);
        if !found.insert(path.clone()) || path[0] != "crate" {
            return;
        }
        let inside = &path[1..];
        let deepest = self.module(inside).len();
        if deepest < inside.len() {
            self.imported(&inside[..deepest], &inside[deepest..], found, left);
        }
    }

    /// Adds what this path stands for in a module that has its first name from a `use`.
    fn imported(&self, module: &[String], path: &[String], found: &mut BTreeSet<Path>, left: usize) {
        let Some(left) = left.checked_sub(1) else { return };
        for (alias, import) in self.imports.get(module).into_iter().flatten() {
            match alias {
                Some(alias) if *alias == path[0] => {
                    let whole = [import.path.as_slice(), &path[1..]].concat();
                    // `use time::Time` brings no other `time`.
                    if whole != path {
                        self.follow(&Name { path: whole, ..import.clone() }, found, left);
                    }
                }
                Some(_) => {}
                None => self.behind_glob(import, path, found, left),
            }
        }
    }

    /// Adds what this path stands for where a `use` brings all of a module, if that has it.
    fn behind_glob(&self, import: &Name, path: &[String], found: &mut BTreeSet<Path>, left: usize) {
        let mut places = BTreeSet::new();
        self.follow(import, &mut places, left);
        for place in places {
            let whole = [place.as_slice(), path].concat();
            if place[0] != "crate" {
                found.insert(standard(whole));
            } else if self.items.contains(&whole[1..=place.len()]) {
                self.add(whole, found, left);
            } else if self.modules.contains(&place[1..]) {
                self.imported(&place[1..], path, found, left);
            }
        }
    }

    /// The longest part of a path inside the crate that is a module.
    pub(super) fn module<'a>(&self, path: &'a [String]) -> &'a [String] {
        let end = (0..=path.len()).rev().find(|end| self.modules.contains(&path[..*end]));
        &path[..end.unwrap_or(0)]
    }

    /// Whether a name is compiled only for tests.
    pub(super) fn is_test(&self, name: &Name) -> bool {
        name.test || (0..=name.module.len()).any(|end| self.tests.contains(&name.module[..end]))
    }
}

fn inside(module: &[String], path: &[String]) -> Path {
    [&["crate".to_owned()], module, path].concat()
}

/// `core` and `alloc` are parts of `std`.
fn standard(mut path: Path) -> Path {
    if ["core", "alloc"].contains(&path[0].as_str()) {
        path[0] = "std".into();
    }
    path
}

fn rust_files(root: &FilePath, folder: &FilePath, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(root, &path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let file = path.strip_prefix(root).expect("a file below").to_str().expect("a UTF-8 path").to_owned();
            files.push((file, fs::read_to_string(&path).expect("a text")));
        }
    }
}
