//! How a native connection begins: hello, session, what the client wants, and the hub's answer. `publish` and `watch` run what is
//! granted here.

use framewire_proto::{
    Name,
    link::Link,
    wire::native::{Message, Session, Token, code},
};
use tokio::time::timeout;
use tracing::info;

use super::{
    HubPort,
    clients::{self, ClientSession, Outdated},
    publish::{self, PublisherSession},
    viewer::ViewerSession,
    watch,
};
use crate::{
    clock,
    error::{Context as _, Error, Result, bail},
    hub::{Accepts, Hub, Policy, Publisher, Refused, Subscriber},
    net::{
        self,
        accept::Accepted,
        channel::{self, Channel},
    },
};

/// Messages that a client may send up to its Publish or Subscribe.
const MESSAGES: usize = 16;

/// What a client wants, and what it sent before.
struct Request {
    wanted: Wanted,
    session: Option<Session>,
    link: Link,
    /// To the client's pings: they are sent with the hub's answer.
    answers: Vec<Message>,
}

/// A Publish or a Subscribe.
#[derive(Debug)]
enum Wanted {
    Publish { name: Name, passthrough: bool },
    Watch { name: Name, wait: bool, policy: Policy, accepts: Accepts },
}

/// What the hub has granted.
#[derive(Debug)]
enum Granted {
    Publish(Publisher),
    Watch(Subscriber, Accepts),
}

/// Serves a native connection until it ends.
///
/// # Errors
/// The connection broke, the client does not follow the wire, or the hub refuses. The client was sent the reason.
pub(super) async fn serve(accepted: Accepted, port: &HubPort) -> Result<()> {
    let channel = Channel::new(accepted, port.limits);
    let request = match timeout(net::HEAD, request(&channel)).await.context("no Publish or Subscribe in time").flatten()
    {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(()),
        Err(error) => {
            channel.greet(&[channel::hello()]).await?;
            return Err(report(&channel, error).await);
        }
    };
    let session = match request.session.map(|session| port.clients.join(session)).transpose() {
        Ok(session) => session,
        Err(outdated) => return Err(send_away(&channel, outdated).await),
    };
    tokio::select! {
        outcome = converse(&channel, port, request, session.as_ref()) => match outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(report(&channel, error).await),
        },
        () = clients::taken_over(session.as_ref()) => {
            // What waits here to be sent is old by now, and its client reads elsewhere.
            channel.abandon();
            bail!(Refused, "a newer connection of the same client has taken over")
        }
    }
}

/// Reads up to the message that says what the client wants; `None` where it says goodbye instead.
async fn request(channel: &Channel) -> Result<Option<Request>> {
    let mut link = Link::new(clock::now());
    let (mut session, mut answers) = (None, Vec::new());
    for _ in 0..MESSAGES {
        let message = channel.receive(|| {}).await?;
        answers.extend(link.on_message(&message, clock::now()));
        let wanted = match message {
            Message::Session(received) => {
                session = Some(received);
                continue;
            }
            Message::Publish { name, passthrough } => Wanted::Publish { name, passthrough },
            Message::Subscribe { name, wait, every, jpegs } => Wanted::Watch {
                name,
                wait,
                policy: if every { Policy::Every } else { Policy::Newest },
                accepts: accepts(every, jpegs),
            },
            Message::Bye { .. } => return Ok(None),
            _ => continue,
        };
        return Ok(Some(Request { wanted, session, link, answers }));
    }
    bail!(Protocol, "no Publish or Subscribe among the first {MESSAGES} messages")
}

/// What a viewer can decode: a recorder of every frame gets the source as it is.
fn accepts(every: bool, jpegs: bool) -> Accepts {
    match (every, jpegs) {
        (_, true) => Accepts::Jpegs,
        (true, false) => Accepts::Source,
        (false, false) => Accepts::Any,
    }
}

/// Answers the request, and runs what was granted until it ends.
async fn converse(channel: &Channel, port: &HubPort, request: Request, session: Option<&ClientSession>) -> Result<()> {
    let (peer, now) = (channel.peer(), clock::now());
    let Request { wanted, mut link, answers, .. } = request;
    let granted = match grant(&port.hub, &wanted, session.map(ClientSession::token)) {
        Ok(granted) => granted,
        Err(refused) => {
            let error = Message::Error { code: code(&refused), text: refused.to_string() };
            channel.greet(&[channel::hello(), error]).await?;
            channel.linger().await;
            return Err(refused.into());
        }
    };
    session.into_iter().for_each(ClientSession::take_over);
    let mut greeting = vec![channel::hello()];
    greeting.extend(answers);
    match granted {
        Granted::Publish(publisher) => {
            let name = publisher.name().clone();
            greeting.push(Message::Accepted { name: name.clone() });
            let (viewers, keyframes) = (publisher.viewers(), publisher.keyframe_requests());
            let mut publisher = PublisherSession::new(publisher, link, *viewers.borrow());
            greeting.extend(std::iter::from_fn(|| publisher.poll(now)));
            channel.greet(&greeting).await?;
            info!("{peer}: publishes '{name}'");
            publish::run(channel, publisher, viewers, keyframes).await
        }
        Granted::Watch(subscriber, accepts) => {
            let name = subscriber.name().clone();
            greeting.push(Message::Accepted { name: name.clone() });
            greeting.extend(link.poll_ping(now));
            channel.greet(&greeting).await?;
            info!("{peer}: watches '{name}'");
            let mut viewer = ViewerSession::new(subscriber, link, accepts, channel.local());
            viewer.set_max_frame(port.limits.frame);
            session.into_iter().for_each(|session| viewer.resume(session.link(), clock::now()));
            watch::run(channel, viewer).await
        }
    }
}

/// Asks the hub for what the client with this token wants.
fn grant(hub: &Hub, wanted: &Wanted, client: Option<Token>) -> Result<Granted, Refused> {
    match *wanted {
        Wanted::Publish { ref name, passthrough } => {
            let publisher = hub.publish_as(client, name, clock::now())?;
            publisher.set_passthrough(passthrough);
            Ok(Granted::Publish(publisher))
        }
        Wanted::Watch { ref name, wait, policy, accepts } => {
            Ok(Granted::Watch(hub.subscribe(name, policy, wait, clock::now())?, accepts))
        }
    }
}

/// The code of a refusal.
fn code(refused: &Refused) -> u16 {
    match refused {
        Refused::NoSuchStream { .. } => code::NO_SUCH_STREAM,
        Refused::NameTaken(_) | Refused::OwnSource(_) => code::NAME_TAKEN,
        Refused::TooMany => code::TOO_MANY,
    }
}

/// Says goodbye to a connection that was late.
async fn send_away(channel: &Channel, outdated: Outdated) -> Error {
    let goodbye = [channel::hello(), Message::Bye { text: outdated.to_string() }];
    if let Err(error) = channel.greet(&goodbye).await {
        return error;
    }
    channel.linger().await;
    outdated.into()
}

/// Sends a client the error where it does not follow the wire.
async fn report(channel: &Channel, error: Error) -> Error {
    if let Some(fault) = error.wire() {
        // The client may be gone; then nobody needs the reason.
        if channel.send(&Message::Error { code: code::PROTOCOL, text: fault.to_string() }).await.is_ok() {
            channel.linger().await;
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::STREAMS;

    fn publish(name: &str) -> Wanted {
        Wanted::Publish { name: Name::from_lossy(name), passthrough: false }
    }

    fn watch(name: &str, wait: bool) -> Wanted {
        Wanted::Watch { name: Name::from_lossy(name), wait, policy: Policy::Newest, accepts: Accepts::Any }
    }

    fn refusal(hub: &Hub, wanted: &Wanted) -> u16 {
        code(&grant(hub, wanted, None).unwrap_err())
    }

    #[test]
    fn each_refusal_has_its_code() {
        let hub = Hub::default();
        assert_eq!(refusal(&hub, &watch("door", false)), code::NO_SUCH_STREAM);
        let _publisher = grant(&hub, &publish("door"), None).unwrap();
        assert_eq!(refusal(&hub, &publish("door")), code::NAME_TAKEN);
        assert!(grant(&hub, &watch("door", false), None).is_ok());
    }

    #[test]
    fn a_full_hub_refuses_publishers_and_waiting_viewers_as_too_many() {
        let hub = Hub::default();
        let _streams: Vec<_> =
            (0..STREAMS).map(|number| grant(&hub, &publish(&format!("stream-{number}")), None).unwrap()).collect();
        assert_eq!(refusal(&hub, &publish("one-more")), code::TOO_MANY);
        assert_eq!(refusal(&hub, &watch("one-more", true)), code::TOO_MANY);
        assert_eq!(refusal(&hub, &publish("stream-0")), code::NAME_TAKEN, "a name that is there is taken, full or not");
    }

    #[test]
    fn a_client_takes_its_own_stream_over() {
        let hub = Hub::default();
        let _publisher = grant(&hub, &publish("door"), Some(Token([1; 16]))).unwrap();
        assert!(grant(&hub, &publish("door"), Some(Token([2; 16]))).is_err());
        assert!(grant(&hub, &publish("door"), Some(Token([1; 16]))).is_ok());
    }
}
