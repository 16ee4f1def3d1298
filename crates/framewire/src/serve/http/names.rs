//! The names by which browsers may call this hub.
//!
//! A page of any web site can let its own name point to this machine (DNS rebinding): the browser then lets it read what the hub
//! answers. So a name counts only if nobody else can own it. Names are never resolved: that is what rebinding exploits.

use std::fs;

use super::address::Authority;
use crate::net;

/// Where home networks and mDNS place the machines of a network (RFC 6762, RFC 8375).
const LOCAL_DOMAINS: [&str; 3] = ["local", "lan", "home.arpa"];

/// This hub's names.
#[derive(Debug)]
pub(super) struct Names {
    /// The names of `--host-name`, with their ports where one was written.
    pub(super) given: Vec<Authority>,
    /// This machine's name, alone and in the domains in which it is known.
    machine: Vec<String>,
}

impl Names {
    /// The names that were given, and this machine's.
    pub(super) fn new(given: Vec<Authority>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { given, machine: machine_names(&net::machine_name(), &read("/etc/resolv.conf"), &read("/etc/hosts")) }
    }

    /// Whether this names the hub: an IP address, a name without a dot such as a container's, this machine's, or one given.
    pub(super) fn include(&self, called: &Authority) -> bool {
        let host = &called.host;
        called.ip().is_some()
            || !host.contains('.')
            || self.machine.contains(host)
            || self.given.iter().any(|given| given.host == *host)
    }
}

/// A machine's names by its own one and the system's files: in local domains, and in those that the files place it in.
fn machine_names(own: &str, resolv_conf: &str, hosts: &str) -> Vec<String> {
    let short = own.split('.').next().unwrap_or_default();
    let domains = lines(resolv_conf).filter(|line| matches!(line[0], "search" | "domain"));
    let domains = domains.flat_map(|line| line.into_iter().skip(1));
    let domains = domains.map(|domain| domain.trim_matches('.').to_ascii_lowercase());
    let placed = domains.chain(LOCAL_DOMAINS.map(String::from)).filter(|domain| !domain.is_empty());
    let mut names: Vec<String> = placed.map(|domain| format!("{short}.{domain}")).collect();
    let listed = lines(hosts).flat_map(|line| line.into_iter().skip(1)).map(str::to_ascii_lowercase);
    names.extend(listed.filter(|name| name.strip_prefix(short).is_some_and(|domain| domain.starts_with('.'))));
    names.push(own.into());
    names
}

/// The words of each line that is no comment.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let code = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default());
    code.map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let machine = machine_names(
            "pi",
            "# by the router\nnameserver 192.168.7.1\nsearch fritz.box Corp.Example.\n",
            "127.0.0.1 localhost\n127.0.1.1 pi.garden.example pi # this one\n192.168.7.9 nas.fritz.box\n",
        );
        Names { given: vec![Authority::parse("gate.example:8443").unwrap()], machine }
    }

    #[test]
    fn a_hub_answers_to_addresses_and_its_own_names_only() {
        let is_ours = |host| Authority::parse(host).is_some_and(|host| names().include(&host));
        for ours in [
            "127.0.0.1:7070",
            "[::1]:7070",
            "localhost:1",
            "LOCALHOST.",
            "hub:7070",
            "gate.example",
            "gate.example:80",
            "pi",
            "pi.local",
            "pi.local.:7070",
            "PI.lan",
            "pi.home.arpa",
            "pi.fritz.box",
            "pi.corp.example",
            "pi.garden.example",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "localhost.evil",
            "other.local",
            "nas.fritz.box",
            "pi.evil.example",
            "pi.local.evil.example",
            "gate.example.evil.example",
            "a.gate.example",
            "host.docker.internal",
        ] {
            assert!(!is_ours(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_machine_that_knows_its_domain_is_known_by_it() {
        let names = machine_names("pi.garden.example", "", "");
        assert_eq!(names, ["pi.local", "pi.lan", "pi.home.arpa", "pi.garden.example"]);
    }
}
