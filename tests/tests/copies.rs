//! How often content is moved in memory on its way to the disk: a message above 32 KiB not at all, one below
//! it once, into the batch that is written. The server counts, and says so when it stops.

use mailrail_tests::{Server, Sink, message};

/// What a server that has stopped says under this name.
fn told(server: &Server, name: &str) -> u64 {
    let log = server.log();
    let last = log
        .lines()
        .rfind(|line| line.contains("content_carried"))
        .expect("a last line");
    // Colours, if any, end before the number.
    let value = last.split(&format!("{name}=")).nth(1).expect("the count");
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// Sends these messages; what was carried, and what was copied of it.
fn carried_and_copied(contents: &[Vec<u8>]) -> (u64, u64) {
    let sink = Sink::start();
    let mut server = Server::setup().route("*", sink.address()).start();
    let mut client = server.client();
    for content in contents {
        let reply = client.submit("a@client.example", &["b@sink.example"], content);
        reply.expect("a reply").expect(250);
    }
    for content in contents {
        let received = sink.next();
        assert!(
            message::without_received(&received.content) == content,
            "changed on its way"
        );
    }
    server.stop();
    (
        told(&server, "content_carried"),
        told(&server, "content_copied"),
    )
}

#[test]
fn a_large_message_is_not_copied() {
    let sizes = [40_000, 65_536, 100_000, 1_000_000, 3_000_000];
    let contents: Vec<Vec<u8>> = sizes
        .iter()
        .map(|&size| message::with_id(&format!("large-{size}"), size))
        .collect();
    let (carried, copied) = carried_and_copied(&contents);
    assert!(carried >= sizes.iter().sum::<usize>() as u64, "{carried}");
    // A line's end that a chunk's end cuts through has to be seen in one piece.
    assert!(copied < 1_000, "{copied} of {carried} bytes were copied");
}

#[test]
fn a_small_message_is_copied_once() {
    let contents: Vec<Vec<u8>> = (0..10)
        .map(|number| message::with_id(&format!("small-{number}"), 4096))
        .collect();
    let (carried, copied) = carried_and_copied(&contents);
    assert_eq!(copied, carried);
}

/// Where a dot is taken away the rest of what was read with it moves up, and that is counted.
#[test]
fn dots_cost_a_copy_and_are_counted() {
    let mut content = message::with_id("dots", 100_000);
    content.splice(200..200, b"\r\n.a line with a dot\r\n".iter().copied());
    let (carried, copied) = carried_and_copied(&[content]);
    assert!(copied > 0 && copied <= carried, "{copied} of {carried}");
}
