//! Which connections belong to one client: the newest takes over, and the one before is closed at once.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framewire_proto::{
    Micros,
    wire::native::{Session, Token},
};

use crate::{error::Error, stop::Stop};

/// The clients that are connected and have sent a Session message. Clones share the table.
#[derive(Debug, Clone, Default)]
pub struct Clients(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    newest: HashMap<Token, Newest>,
    joined: u64,
}

/// The newest connection of a client.
#[derive(Debug)]
struct Newest {
    id: u64,
    turn: u64,
    close: Stop,
    link: LinkMemory,
}

/// What was measured of the link to a client, kept from one of its connections to the next.
#[derive(Debug, Clone, Default)]
pub struct LinkMemory(Arc<Mutex<Option<(u64, Micros)>>>);

impl LinkMemory {
    /// Stores the link's capacity in bit/s and its round trip in µs.
    pub fn store(&self, capacity: u64, round_trip: Micros) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((capacity, round_trip));
    }

    /// What was stored last.
    pub fn last(&self) -> Option<(u64, Micros)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of a client. Dropped, the connection has ended.
#[derive(Debug)]
pub struct ClientSession {
    clients: Clients,
    token: Token,
    id: u64,
    close: Stop,
    link: LinkMemory,
    /// Closes the client's connection before this one.
    close_previous: Option<Stop>,
}

/// A newer connection of the same client is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a newer connection of this client is open")]
pub struct Outdated;

impl From<Outdated> for Error {
    fn from(outdated: Outdated) -> Self {
        Self::new(Self::Refused, outdated.to_string())
    }
}

impl Clients {
    /// Makes this connection the client's newest. The one before stays until [`ClientSession::take_over`].
    ///
    /// # Errors
    /// [`Outdated`]: this connection was late.
    pub fn join(&self, session: Session) -> Result<ClientSession, Outdated> {
        let Session { token, turn } = session;
        let mut table = self.lock();
        if table.newest.get(&token).is_some_and(|newest| newest.turn > turn) {
            return Err(Outdated);
        }
        table.joined += 1;
        let (id, close) = (table.joined, Stop::default());
        let link = table.newest.get(&token).map(|newest| newest.link.clone()).unwrap_or_default();
        let previous = table.newest.insert(token, Newest { id, turn, close: close.clone(), link: link.clone() });
        let close_previous = previous.map(|previous| previous.close);
        Ok(ClientSession { clients: self.clone(), token, id, close, link, close_previous })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSession {
    /// The client's token.
    pub fn token(&self) -> Token {
        self.token
    }

    /// What was measured of the client's link.
    pub fn link(&self) -> LinkMemory {
        self.link.clone()
    }

    /// This connection does now what the client's connection before did, which is closed.
    pub fn take_over(&self) {
        self.close_previous.iter().for_each(Stop::stop);
    }
}

/// Waits until a newer connection of the same client has taken over: for ever where the client sent no Session.
pub async fn taken_over(session: Option<&ClientSession>) {
    match session {
        Some(session) => session.close.raised().await,
        None => pending().await,
    }
}

impl Drop for ClientSession {
    fn drop(&mut self) {
        // A client that has begun another connection is done with the one before, whatever became of the new one.
        self.take_over();
        let mut table = self.clients.lock();
        if table.newest.get(&self.token).is_some_and(|newest| newest.id == self.id) {
            table.newest.remove(&self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(token: u8, turn: u64) -> Session {
        Session { token: Token([token; 16]), turn }
    }

    #[test]
    fn the_newest_connection_of_a_client_closes_the_one_before() {
        let clients = Clients::default();
        let first = clients.join(session(1, 1)).unwrap();
        let stranger = clients.join(session(2, 1)).unwrap();
        let second = clients.join(session(1, 2)).unwrap();
        assert!(!first.close.stopped(), "the first stays until the second has begun");
        first.link().store(8_000_000, 60_000);
        assert_eq!((second.link().last(), stranger.link().last()), (Some((8_000_000, 60_000)), None));
        second.take_over();
        assert!(first.close.stopped() && !second.close.stopped() && !stranger.close.stopped());
        assert_eq!(clients.join(session(1, 1)).unwrap_err(), Outdated);
        drop(first);
        assert_eq!(clients.join(session(1, 1)).unwrap_err(), Outdated, "the second is still the newest");
        drop((second, stranger));
        assert!(clients.lock().newest.is_empty());
    }

    #[test]
    fn a_client_that_does_not_count_its_turns_takes_over_as_well() {
        let clients = Clients::default();
        let first = clients.join(session(1, 0)).unwrap();
        let second = clients.join(session(1, 0)).unwrap();
        second.take_over();
        drop(first);
        let third = clients.join(session(1, 0)).unwrap();
        drop(second);
        assert_eq!(clients.lock().newest.len(), 1);
        drop(third);
        assert!(clients.lock().newest.is_empty());
    }
}
