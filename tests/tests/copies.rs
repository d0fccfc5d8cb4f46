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

/// Content that comes along with BDAT was read with the command, and that much of it is copied: once up to
/// the inbox's length, and behind a large message no more than an envelope's.
#[test]
fn what_comes_along_with_bdat_is_copied_but_little_of_it() {
    const COUNT: usize = 10;
    const INBOX_LEN: u64 = 16 * 1024;
    const HEAD_LEN: u64 = 2 * 1024;
    let sink = Sink::start();
    let mut server = Server::setup().route("*", sink.address()).start();
    let mut client = server.client();
    for number in 0..COUNT {
        let content = message::with_id(&format!("chunk-{number}"), 100_000);
        let mut all = format!(
            "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@sink.example>\r\nBDAT {} LAST\r\n",
            content.len()
        )
        .into_bytes();
        all.extend_from_slice(&content);
        client.send(&all).expect("a connection");
        for _ in 0..3 {
            client.reply().expect(250);
        }
    }
    for _ in 0..COUNT {
        sink.next();
    }
    server.stop();
    let copied = told(&server, "content_copied");
    let most = INBOX_LEN + (COUNT as u64 - 1) * HEAD_LEN;
    assert!(
        copied <= most,
        "{copied} bytes were copied, of {most} at most"
    );
}
