//! Which connection is whose: the newest one of a client takes over, and those before it leave at once.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framewire_proto::{
    Micros,
    wire::native::{Session, Token},
};

use crate::stop::Stop;

/// The clients that are connected and have said who they are. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    holders: HashMap<Token, Holder>,
    joined: u64,
}

/// The newest connection of a client.
#[derive(Debug)]
struct Holder {
    id: u64,
    turn: u64,
    leave: Stop,
    known: Known,
}

/// What is known of the link to a client, from one of its connections to the next.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<Option<(u64, Micros)>>>);

impl Known {
    /// It carries so many bits a second, with this round trip in µs.
    pub fn note(&self, capacity: u64, round_trip: Micros) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((capacity, round_trip));
    }

    /// What was noted last.
    pub fn noted(&self) -> Option<(u64, Micros)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among those of its client. Dropped, it is free.
#[derive(Debug)]
pub struct Seat {
    sessions: Sessions,
    token: Token,
    id: u64,
    leave: Stop,
    known: Known,
    /// Whoever sat here before.
    before: Option<Stop>,
}

/// A newer connection of the same client is here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a newer connection of this client is here already")]
pub struct Outdated;

impl Sessions {
    /// This connection is the client's newest: the one before stays until [`Seat::settle`].
    ///
    /// # Errors
    /// [`Outdated`]: it was late.
    pub fn join(&self, session: Session) -> Result<Seat, Outdated> {
        let Session { token, turn } = session;
        let mut inside = self.lock();
        if inside.holders.get(&token).is_some_and(|held| held.turn > turn) {
            return Err(Outdated);
        }
        inside.joined += 1;
        let (id, leave) = (inside.joined, Stop::default());
        let known = inside.holders.get(&token).map(|held| held.known.clone()).unwrap_or_default();
        let before = inside.holders.insert(token, Holder { id, turn, leave: leave.clone(), known: known.clone() });
        Ok(Seat { sessions: self.clone(), token, id, leave, known, before: before.map(|held| held.leave) })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The client.
    pub fn token(&self) -> Token {
        self.token
    }

    /// What is known of the client's link.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// This connection has begun to do what the one before did, which leaves now.
    pub fn settle(&self) {
        self.before.iter().for_each(Stop::stop);
    }
}

/// Waits until a newer connection of the same client has taken over: for ever where the client did not say who it is.
pub async fn taken(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.leave.raised().await,
        None => pending().await,
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // A client that has begun another connection is done with the one before, whatever became of it.
        self.settle();
        let mut inside = self.sessions.lock();
        if inside.holders.get(&self.token).is_some_and(|held| held.id == self.id) {
            inside.holders.remove(&self.token);
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
    fn the_newest_connection_of_a_client_makes_the_one_before_leave() {
        let sessions = Sessions::default();
        let first = sessions.join(session(1, 1)).unwrap();
        let stranger = sessions.join(session(2, 1)).unwrap();
        let second = sessions.join(session(1, 2)).unwrap();
        assert!(!first.leave.stopped(), "it stays until the new one has begun");
        first.known().note(8_000_000, 60_000);
        assert_eq!((second.known().noted(), stranger.known().noted()), (Some((8_000_000, 60_000)), None));
        second.settle();
        assert!(first.leave.stopped() && !second.leave.stopped() && !stranger.leave.stopped());
        assert_eq!(sessions.join(session(1, 1)).unwrap_err(), Outdated);
        drop(first);
        assert_eq!(sessions.join(session(1, 1)).unwrap_err(), Outdated, "the seat is the second's");
        drop((second, stranger));
        assert!(sessions.lock().holders.is_empty());
    }

    #[test]
    fn a_client_that_does_not_count_its_turns_takes_over_all_the_same() {
        let sessions = Sessions::default();
        let first = sessions.join(session(1, 0)).unwrap();
        let second = sessions.join(session(1, 0)).unwrap();
        second.settle();
        drop(first);
        let third = sessions.join(session(1, 0)).unwrap();
        drop(second);
        assert_eq!(sessions.lock().holders.len(), 1);
        drop(third);
        assert!(sessions.lock().holders.is_empty());
    }
}
