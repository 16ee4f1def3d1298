//! What is wrong with a crate's sources, by the rules that stand in the tables of the test.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    parse::{Name, Path, Source},
    resolve::Crate,
};

/// A module at the top of the library, with all below it.
pub(super) struct Room {
    pub(super) name: &'static str,
    /// The rooms that it may name besides itself.
    pub(super) may_name: &'static [&'static str],
}

/// Paths that a place may not name.
pub(super) struct Ban {
    /// The room; empty for the whole crate.
    pub(super) room: &'static str,
    /// Paths, with all that is below them; `unsafe` and `async` stand for the keywords.
    pub(super) paths: &'static [&'static str],
    pub(super) because: &'static str,
}

/// Rooms that name others than they may, and rooms and files that the table does not know.
pub(super) fn arrows(of: &Crate, rooms: &[Room], leaves: &[&str]) -> Vec<String> {
    let there =
        |room: &&Room| of.sources.iter().any(|source| source.module.first().is_some_and(|own| own == room.name));
    let gone =
        rooms.iter().filter(|room| !there(room)).map(|room| format!("{}: in the table, and not there", room.name));
    let mut wrong: BTreeSet<String> = gone.collect();
    let is_allowed =
        |room: &Room, other: &str| room.name == other || room.may_name.contains(&other) || leaves.contains(&other);
    for (source, name) in names(of) {
        let Some(own) = source.module.first() else { continue };
        let Some(room) = rooms.iter().find(|room| room.name == own) else {
            wrong.insert(format!("{}: {own} has no row in the table of rooms", source.file));
            continue;
        };
        let at = source.at(name.line);
        for path in of.resolve(name).iter().filter(|path| path[0] == "crate") {
            // An item of the crate's root has no row: where that has it from is among the paths.
            match path.get(1).map(String::as_str) {
                None if name.glob => {
                    wrong.insert(format!("{at}: `use crate::*` hides what it names"));
                }
                Some(other) if is_allowed(room, other) || !rooms.iter().any(|room| room.name == other) => {}
                Some(other) => {
                    wrong.insert(format!("{at}: {own} may not name {other}"));
                }
                None => {}
            }
        }
    }
    wrong.into_iter().collect()
}

/// Paths that are named where they are banned.
pub(super) fn bans(of: &Crate, bans: &[Ban]) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for (source, name) in names(of) {
        let here = |ban: &&Ban| ban.room.is_empty() || source.module.first().is_some_and(|room| room == ban.room);
        let named = of.resolve(name);
        for (ban, path) in bans.iter().filter(here).flat_map(|ban| ban.paths.iter().map(move |path| (ban, path))) {
            let banned: Path = path.split("::").map(str::to_owned).collect();
            let names = |named: &Path| named.starts_with(&banned) || name.glob && banned.starts_with(named);
            if named.iter().any(names) {
                wrong.insert(format!("{}: {path}: {}", source.at(name.line), ban.because));
            }
        }
    }
    wrong.into_iter().collect()
}

fn names(of: &Crate) -> impl Iterator<Item = (&Source, &Name)> {
    of.sources.iter().flat_map(|source| source.names.iter().map(move |name| (source, name)))
}

/// Circles among modules that lie beside each other, each named by one way around it. What a module and those below it
/// name of each other is their own affair.
pub(super) fn circles(of: &Crate) -> Vec<String> {
    // By the module above them: who names whom, and where.
    let mut graphs: BTreeMap<Path, BTreeMap<String, BTreeMap<String, String>>> = BTreeMap::new();
    for (source, name) in names(of).filter(|(_, name)| !of.is_test(name)) {
        for path in of.resolve(name).iter().filter(|path| path[0] == "crate") {
            let (from, to) = (&name.module, of.module(&path[1..]));
            let above = from.iter().zip(to).take_while(|(one, other)| one == other).count();
            if let (Some(one), Some(other)) = (from.get(above), to.get(above)) {
                let named = graphs.entry(from[..above].to_vec()).or_default().entry(one.clone()).or_default();
                named.entry(other.clone()).or_insert_with(|| source.at(name.line));
            }
        }
    }
    graphs.iter().flat_map(|(above, graph)| circles_in(above, graph)).collect()
}

fn circles_in(above: &Path, graph: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<String> {
    let mut told: BTreeSet<&String> = BTreeSet::new();
    let mut found = Vec::new();
    for start in graph.keys() {
        let Some(way) = way_around(start, graph) else { continue };
        if way.iter().any(|module| told.contains(module)) {
            continue;
        }
        told.extend(&way);
        let steps = way.iter().zip(way.iter().cycle().skip(1));
        let steps: Vec<_> = steps.map(|(from, to)| format!("{from} names {to} ({})", graph[*from][*to])).collect();
        let place = if above.is_empty() { "the crate".into() } else { above.join("::") };
        found.push(format!("a circle in {place}: {}", steps.join(", ")));
    }
    found
}

/// The shortest way from a module over others back to it.
fn way_around<'a>(start: &'a String, graph: &'a BTreeMap<String, BTreeMap<String, String>>) -> Option<Vec<&'a String>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in graph.get(*way.last()?).into_iter().flat_map(BTreeMap::keys) {
                if next == start {
                    return Some(way);
                }
                if seen.insert(next) {
                    longer.push([way.as_slice(), &[next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// Files that hold more code than this.
pub(super) fn long_files(of: &Crate, most: usize) -> Vec<String> {
    let long = of.sources.iter().filter(|source| !source.file.ends_with("tests.rs") && source.lines > most);
    long.map(|source| format!("{}: {} lines of code, at most {most}", source.file, source.lines)).collect()
}

/// The functions that are this long or longer, the longest first; empty if they are no more than these percent.
pub(super) fn long_functions(of: &Crate, long: usize, percent: usize) -> Vec<String> {
    let all = || of.sources.iter().flat_map(|source| source.functions.iter().map(move |function| (source, function)));
    let mut found: Vec<_> = all().filter(|(_, function)| function.lines >= long).collect();
    if found.len() * 100 <= all().count() * percent {
        return Vec::new();
    }
    found.sort_by_key(|(_, function)| std::cmp::Reverse(function.lines));
    let told = |(source, function): &(&Source, &super::parse::Function)| {
        format!("{}: {} has {} lines", source.at(function.line), function.name, function.lines)
    };
    found.iter().map(told).collect()
}

/// Unsafe code outside of these files, files of these without any, and exceptions without a reason.
pub(super) fn unsafe_code(of: &Crate, files: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in &of.sources {
        let code = source.names.iter().find(|name| name.path == ["unsafe"]).map(|name| name.line);
        let exception = source.allows_unsafe.first().map(|(line, _)| *line);
        match (code.or(exception), files.contains(&source.file.as_str())) {
            (Some(line), false) => wrong.push(format!("{}: unsafe code, and not in the table", source.at(line))),
            (_, true) if code.is_none() => wrong.push(format!("{}: in the table, without unsafe code", source.file)),
            (_, true) if exception.is_none() => {
                wrong.push(format!("{}: in the table, without an exception", source.file));
            }
            _ => {}
        }
        let without_reason = source.allows_unsafe.iter().filter(|(_, reason)| !reason);
        wrong.extend(without_reason.map(|(line, _)| format!("{}: an exception without a reason", source.at(*line))));
    }
    let there = |file: &&&str| of.sources.iter().any(|source| source.file == **file);
    wrong.extend(files.iter().filter(|file| !there(file)).map(|file| format!("{file}: in the table, and not there")));
    wrong
}
