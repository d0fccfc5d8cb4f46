//! SASL, from outside: the examples of the RFCs, tables of what is refused, and both sides against
//! each other. The base64 has its tests beside it.

mod both_sides;
mod examples;
mod malformed;
#[cfg(feature = "scram")]
mod tampered;

use mailrail_protocol::reply::Reply;
use mailrail_protocol::sasl::base64;
use mailrail_protocol::sasl::server::{Exchange, Step};

fn encode(octets: impl AsRef<[u8]>) -> Vec<u8> {
    let mut text = Vec::new();
    base64::encode(octets.as_ref(), &mut text);
    text
}

fn decode(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    assert!(base64::decode(text.as_bytes(), &mut octets), "{text}");
    octets
}

/// Gives the server a response, not yet in base64.
fn receive(server: &mut Exchange, response: impl AsRef<[u8]>) -> Step<'_> {
    let response = encode(response);
    server.receive(Some(&response))
}

/// The reply of a step that fails, and nothing if it does not.
fn failure(step: &Step<'_>) -> Option<&'static Reply<'static>> {
    match step {
        Step::Failed(reply) => Some(reply),
        _ => None,
    }
}
