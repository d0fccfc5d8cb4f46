//! Configurations, right and wrong: what each means, and the exact text of each error.

use std::path::Path;
use std::time::Duration;

use mailrail::config::{Config, ConfigError, Surroundings};

fn load(text: &str) -> Result<Config, ConfigError> {
    let surroundings = Surroundings {
        hostname: "machine.example".to_owned(),
        cores: 4,
        resolv_conf: "nameserver 192.0.2.53\n".to_owned(),
    };
    Config::from_text(Path::new("m.toml"), text, &surroundings)
}

const EXAMPLE: &str = r#"
hostname = "mx.example.com"
data_dir = "/var/lib/mailrail"       # spool and logs below it; created if missing

[[listener]]
address = "127.0.0.1:2525"

[relay]
hosts = ["127.0.0.0/8", "::1"]

[[route]]
domain = "*"                          # or "example.net", ".example.net"
via = ["127.0.0.1:2526"]              # smart hosts, tried in turn; without a route: MX

[dns]
servers = ["127.0.0.1:5353"]          # default: /etc/resolv.conf

[queue]
retry_interval = "20m"
max_age = "7d"
"#;

#[test]
fn the_example_works_as_it_stands() {
    let config = load(EXAMPLE).expect("the example is right");
    assert_eq!(config.hostname, "mx.example.com");
    assert_eq!(config.data_dir, Path::new("/var/lib/mailrail"));
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:2525");
    assert!(
        config
            .relay
            .allows("127.9.9.9".parse().expect("an address"))
    );
    assert!(
        !config
            .relay
            .allows("192.0.2.1".parse().expect("an address"))
    );
    let route = config
        .routes
        .find(b"anything.example")
        .expect("the route of all");
    assert_eq!(route.via[0].to_string(), "127.0.0.1:2526");
    assert_eq!(
        config.dns.servers,
        ["127.0.0.1:5353".parse().expect("an address")]
    );
    assert_eq!(config.queue.retry_interval, Duration::from_secs(1200));
    assert_eq!(
        config.events.path,
        Path::new("/var/lib/mailrail/log/events.jsonl")
    );
    assert_eq!(config.postmaster, "postmaster@mx.example.com");
}

/// All defaults, as `mailrail check` shows them.
const DEFAULTS: &str = r#"hostname = "machine.example"
data_dir = "mailrail-data"
shards = 4
stop_timeout = "30s"
postmaster = "postmaster@machine.example"

[[listener]]
address = "127.0.0.1:2525"
max_connections = 32768
max_messages_per_connection = 10000
max_recipients_per_message = 1024
max_message_size = "50 MiB"
client_timeout = "5m"
invalid_line_endings = "Deny"
durability = "fsync"
tls = "off"

[relay]
hosts = ["127.0.0.0/8", "::1/128"]

[dns]
servers = ["192.0.2.53:53"]
timeout = "5s"

[queue]
retry_interval = "20m"
max_age = "7d"
max_ready = 1024

[delivery]
connection_limit = 10
max_deliveries_per_connection = 100
max_recipients_per_batch = 100
connect_timeout = "1m"
banner_timeout = "1m"
ehlo_timeout = "5m"
mail_from_timeout = "5m"
rcpt_to_timeout = "5m"
data_timeout = "2m"
data_dot_timeout = "10m"
idle_timeout = "1m"
port = 25
prohibited_hosts = ["127.0.0.0/8", "::1/128", "0.0.0.0/32", "::/128"]
ehlo_domain = "machine.example"
enable_tls = "Opportunistic"
ca_file = "/etc/ssl/certs/ca-certificates.crt"
in_doubt = "off"
in_doubt_policy = "retry"

[spool]
segment_size = "64 MiB"
min_free_space = "1 GiB"
memory_budget = "512 MiB"

[events]
path = "mailrail-data/log/events.jsonl"
"#;

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(
        load("").expect("an empty file is right").to_string(),
        DEFAULTS
    );
}

/// Every key there is, each with a value that is not its default.
const EVERYTHING: &str = r#"hostname = "mx.example.com"
data_dir = "/tmp/a \"quoted\" \\ directory"
shards = 2
stop_timeout = "1m30s"
postmaster = "root@example.com"

[[listener]]
address = "127.0.0.1:2500"
max_connections = 10
max_messages_per_connection = 20
max_recipients_per_message = 200
max_message_size = "1 MB"
client_timeout = "10s"
invalid_line_endings = "Deny"
durability = "write"
tls = "starttls"
certificate = "/etc/mailrail/mx.pem"
key = "/etc/mailrail/mx.key"

[[listener]]
address = "[::]:25"
max_connections = 32768
max_messages_per_connection = 10000
max_recipients_per_message = 1024
max_message_size = "64 KiB"
client_timeout = "5m"
invalid_line_endings = "Deny"
durability = "memory"
tls = "implicit"
certificate = "/etc/mailrail/mx.pem"
key = "/etc/mailrail/mx.key"

[relay]
hosts = ["10.0.0.0/8"]

[[route]]
domain = ".example.net"
via = ["192.0.2.1:25", "mail.example.net:587"]
connection_limit = 3

[[route]]
domain = "*"
via = ["[2001:db8::1]:25"]
connection_limit = 64

[dns]
servers = ["127.0.0.1:5353", "[::1]:53"]
timeout = "250ms"

[queue]
retry_interval = "1s"
max_retry_interval = "1h"
max_age = "2d"
max_ready = 7

[delivery]
connection_limit = 1
max_deliveries_per_connection = 2
max_recipients_per_batch = 3
connect_timeout = "1s"
banner_timeout = "2s"
ehlo_timeout = "3s"
mail_from_timeout = "4s"
rcpt_to_timeout = "5s"
data_timeout = "6s"
data_dot_timeout = "7s"
idle_timeout = "8s"
port = 2526
prohibited_hosts = ["192.0.2.0/24"]
source_address = "192.0.2.9"
ehlo_domain = "out.example.com"
enable_tls = "Required"
ca_file = "/etc/mailrail/roots.pem"
in_doubt = "record"
in_doubt_policy = "hold"

[spool]
segment_size = "2 MiB"
min_free_space = "0 B"
memory_budget = "1 MiB"

[events]
path = "/tmp/events.jsonl"
"#;

#[test]
fn what_is_shown_reads_back_the_same() {
    assert_eq!(load(EVERYTHING).expect("all keys").to_string(), EVERYTHING);
    for text in ["", EXAMPLE, EVERYTHING] {
        let config = load(text).expect("a right file");
        assert_eq!(load(&config.to_string()).expect("what is shown"), config);
    }
}

#[test]
fn wrong_files() {
    const TABLE: &[(&str, &str)] = &[
        // Keys.
        (
            "hostnmae = \"a\"",
            "1: hostnmae: unknown key; did you mean \"hostname\"?",
        ),
        (
            "\n[queue]\nretry_intervall = \"1m\"",
            "3: queue.retry_intervall: unknown key; did you mean \"retry_interval\"?",
        ),
        (
            "[relay]\nwho = []",
            "2: relay.who: unknown key; known here: hosts",
        ),
        ("[spol]", "1: spol: unknown key; did you mean \"spool\"?"),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\nwho = true",
            "3: listener.who: unknown key; known here: address, max_connections, max_messages_per_connection, max_recipients_per_message, max_message_size, client_timeout, invalid_line_endings, durability, tls, certificate, key",
        ),
        // Grammar.
        (
            "hostname = ",
            "1: hostname: expected a value: a text in quotes, a number or a list in brackets",
        ),
        (
            "shards = 1\nshards = 2",
            "2: shards: is given twice; keep one",
        ),
        ("[dns]\n[queue]\n[dns]", "3: dns: is given twice; keep one"),
        (
            "hostname = \"mx",
            "1: hostname: invalid basic string, expected '\"'",
        ),
        ("]", "1: missing table open, expected '['"),
        // Types.
        (
            "hostname = 7",
            "1: hostname: expected a text in quotes, found the integer 7",
        ),
        (
            "shards = \"two\"",
            "1: shards: expected a whole number, without quotes, found the string \"two\"",
        ),
        (
            "shards = 1.5",
            "1: shards: expected a whole number, without quotes, found the floating point 1.5",
        ),
        (
            "stop_timeout = 30",
            "1: stop_timeout: expected a duration in quotes, such as \"90s\", \"20m\" or \"1h30m\", found the integer 30",
        ),
        (
            "[spool]\nsegment_size = -1",
            "2: spool.segment_size: expected a size in quotes, such as \"64 MiB\", or a number of bytes, found the integer -1",
        ),
        (
            "[relay]\nhosts = \"::1\"",
            "2: relay.hosts: expected a list in brackets, found the string \"::1\"",
        ),
        (
            "[relay]\nhosts = [\n \"::1\",\n 7 ]",
            "4: relay.hosts: expected a text in quotes, found the integer 7",
        ),
        (
            "[listener]\naddress = \"127.0.0.1:25\"",
            "1: listener: expected a list of tables; write [[listener]] with two brackets",
        ),
        (
            "queue = 3",
            "1: queue: expected a table, found the integer 3",
        ),
        // Values.
        (
            "hostname = \"my_host\"",
            "1: hostname: \"my_host\" is no host name; write it like \"mx.example.com\"",
        ),
        (
            "data_dir = \"\"",
            "1: data_dir: is no path; write it like \"/var/lib/mailrail\", or leave it out",
        ),
        (
            "shards = 0",
            "1: shards: 0 is out of range; give a number from 1 to 256",
        ),
        (
            "shards = 257",
            "1: shards: 257 is out of range; give a number from 1 to 256",
        ),
        (
            "stop_timeout = \"0s\"",
            "1: stop_timeout: \"0s\" is no time at all; the default is \"30s\"",
        ),
        (
            "stop_timeout = \"soon\"",
            "1: stop_timeout: \"soon\" is no duration; write it like \"90s\", \"20m\", \"1h30m\" or \"7d\"",
        ),
        (
            "postmaster = \"postmaster\"",
            "1: postmaster: \"postmaster\" is no mailbox; write it like \"postmaster@example.com\"",
        ),
        (
            "[[listener]]",
            "1: listener.address: is missing; write for example address = \"127.0.0.1:2525\"",
        ),
        (
            "[[listener]]\naddress = \"localhost:25\"",
            "2: listener.address: \"localhost:25\" is no address with a port; write it like \"127.0.0.1:2525\", \"0.0.0.0:25\" or \"[::]:25\"",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:0\"",
            "2: listener.address: \"127.0.0.1:0\" has port 0; give one from 1 to 65535",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\n[[listener]]\naddress = \"127.0.0.1:25\"",
            "4: listener.address: \"127.0.0.1:25\" has a listener already; give each its own address",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\nmax_recipients_per_message = 99",
            "3: listener.max_recipients_per_message: 99 is out of range; give a number from 100 to 16384",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\nmax_message_size = \"1 KiB\"",
            "3: listener.max_message_size: 1 KiB is out of range; give a size from 64 KiB to 1 GiB",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\nmax_message_size = \"50\"",
            "3: listener.max_message_size: \"50\" is no size; write it like \"64 MiB\" (1,024 based) or \"50 MB\" (1,000 based)",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ndurability = \"sync\"",
            "3: listener.durability: \"sync\" is no durability; write \"fsync\" (on disk before the 250), \"write\" (with the device, a power cut may lose it) or \"memory\" (a crash may lose it)",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ntls = \"on\"",
            "3: listener.tls: \"on\" is not possible; write \"off\", \"starttls\" or \"implicit\" (TLS from the first byte on)",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ntls = \"implicit\"\nkey = \"k\"",
            "3: listener.tls: \"implicit\" needs a certificate; write for example certificate = \"/etc/mailrail/mx.pem\" and key = \"/etc/mailrail/mx.key\"",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\nkey = \"k\"",
            "3: listener.key: is not used without TLS; write tls = \"starttls\", or leave it out",
        ),
        (
            "[delivery]\nenable_tls = \"yes\"",
            "2: delivery.enable_tls: \"yes\" is not possible; write \"Opportunistic\" (where it is offered), \"RequiredInsecure\" (always, with any certificate), \"Required\" (always, with a valid certificate) or \"Disabled\"",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ninvalid_line_endings = \"Allow\"",
            "3: listener.invalid_line_endings: \"Allow\" is not possible: a bare CR or LF is always refused; write \"Deny\" or leave it out",
        ),
        (
            "[relay]\nhosts = [\"10.0.0.1/8\"]",
            "2: relay.hosts: \"10.0.0.1/8\" has bits set behind its prefix; write \"10.0.0.0/8\"",
        ),
        (
            "[relay]\nhosts = [\"::1\", \"here\"]",
            "2: relay.hosts: \"here\" is no network; write it like \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"",
        ),
        (
            "[relay]\nhosts = [\"0.0.0.0/0\"]",
            "2: relay.hosts: \"0.0.0.0/0\" would make this an open relay for the whole net; name the networks that may send",
        ),
        (
            "[[route]]\nvia = [\"192.0.2.1\"]",
            "1: route.domain: is missing; write for example domain = \"*\"",
        ),
        (
            "[[route]]\ndomain = \"*\"",
            "1: route.via: is missing; write for example via = [\"192.0.2.7:25\"]",
        ),
        (
            "[[route]]\ndomain = \"*\"\nvia = []",
            "3: route.via: is empty; name at least one host, or leave the route out",
        ),
        (
            "[[route]]\ndomain = \"*.example.net\"\nvia = [\"192.0.2.1\"]",
            "2: route.domain: \"*.example.net\" is no form of a domain; write \".example.net\" for what is below example.net",
        ),
        (
            "[[route]]\ndomain = \"a@b\"\nvia = [\"192.0.2.1\"]",
            "2: route.domain: \"a@b\" is no form of a domain; write \"example.net\", \".example.net\" for what is below it, or \"*\"",
        ),
        (
            "[[route]]\ndomain = \"*\"\nvia = [\"192.0.2.1\"]\n[[route]]\ndomain = \"*\"\nvia = [\"192.0.2.2\"]",
            "5: route.domain: \"*\" has a route already; put all hosts in one via",
        ),
        (
            "[[route]]\ndomain = \"*\"\nvia = [\"smtp://host\"]",
            "3: route.via: \"smtp://host\" has no port from 1 to 65535 behind the colon",
        ),
        (
            "[[route]]\ndomain = \"*\"\nvia = [\"127.0.0.1:2525\"]",
            "3: route.via: \"127.0.0.1:2525\" is a listener of this server: mail would go round",
        ),
        (
            "[dns]\nservers = []",
            "2: dns.servers: is empty; name at least one, or leave it out for /etc/resolv.conf",
        ),
        (
            "[dns]\nservers = [\"ns.example\"]",
            "2: dns.servers: \"ns.example\" is no address of a resolver; write it like \"192.0.2.53\", \"127.0.0.1:5353\" or \"[::1]:53\"",
        ),
        (
            "[queue]\nretry_interval = \"0m\"",
            "2: queue.retry_interval: \"0m\" is no time at all; the default is \"20m\"",
        ),
        (
            "[queue]\nretry_interval = \"11y\"",
            "2: queue.retry_interval: \"11y\" is no duration; write it like \"90s\", \"20m\", \"1h30m\" or \"7d\"",
        ),
        (
            "[queue]\nmax_age = \"9999d\"",
            "2: queue.max_age: \"9999d\" is more than ten years",
        ),
        (
            "[queue]\nmax_retry_interval = \"10m\"",
            "2: queue.max_retry_interval: \"10m\" is shorter than the first pause, retry_interval = \"20m\"; raise the one or lower the other",
        ),
        (
            "[queue]\nretry_interval = \"1h\"\nmax_age = \"30m\"",
            "3: queue.max_age: max_age = \"30m\" ends before the first pause, retry_interval = \"1h\", is over; raise the one or lower the other",
        ),
        (
            "[queue]\nretry_interval = \"8d\"",
            "2: queue.retry_interval: max_age = \"7d\" ends before the first pause, retry_interval = \"8d\", is over; raise the one or lower the other",
        ),
        (
            "[delivery]\nmax_recipients_per_batch = 101",
            "2: delivery.max_recipients_per_batch: 101 is out of range; give a number from 1 to 100",
        ),
        (
            "[delivery]\nport = 65536",
            "2: delivery.port: 65536 is out of range; give a number from 1 to 65535",
        ),
        (
            "[delivery]\nsource_address = \"192.0.2.1:25\"",
            "2: delivery.source_address: \"192.0.2.1:25\" is no address; write it like \"192.0.2.7\", without a port",
        ),
        (
            "[delivery]\nprohibited_hosts = [\"a\"]",
            "2: delivery.prohibited_hosts: \"a\" is no network; write it like \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"",
        ),
        (
            "[delivery]\nin_doubt = \"yes\"",
            "2: delivery.in_doubt: \"yes\" is not possible; write \"record\" (a commit before the end of each message is sent) or \"off\"",
        ),
        (
            "[delivery]\nin_doubt = \"record\"\nin_doubt_policy = \"drop\"",
            "3: delivery.in_doubt_policy: \"drop\" is no policy; write \"retry\" (there may be a second copy), \"hold\" (it waits) or \"assume-delivered\" (there may be no copy)",
        ),
        (
            "[delivery]\nin_doubt_policy = \"hold\"",
            "2: delivery.in_doubt_policy: \"hold\" needs in_doubt = \"record\": without it a crash leaves nothing to decide on",
        ),
        (
            "[delivery]\nehlo_domain = \"\"",
            "2: delivery.ehlo_domain: \"\" is no host name; write it like \"mx.example.com\"",
        ),
        (
            "[spool]\nsegment_size = 67108865",
            "2: spool.segment_size: 67108865 B is no multiple of 4 KiB; the next one is 65540 KiB",
        ),
        (
            "[spool]\nsegment_size = \"4 GiB\"",
            "2: spool.segment_size: 4 GiB is out of range; give a size from 64 KiB to 2 GiB",
        ),
        (
            "[spool]\nsegment_size = \"32 MiB\"",
            "2: spool.segment_size: a message of max_message_size = \"50 MiB\" with its recipients does not fit into a segment of 32 MiB, of which 8 MiB are kept for notes; raise spool.segment_size to 59 MiB or lower max_message_size",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\nmax_message_size = \"64 MiB\"",
            "3: listener.max_message_size: a message of max_message_size = \"64 MiB\" with its recipients does not fit into a segment of 64 MiB, of which 8 MiB are kept for notes; raise spool.segment_size to 73 MiB or lower max_message_size",
        ),
        (
            "[spool]\nmemory_budget = 0",
            "2: spool.memory_budget: 0 B is out of range; give a size from 1 MiB to 1024 TiB",
        ),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in TABLE {
        let found = load(text).map_or_else(|error| error.to_string(), |_| "right".to_owned());
        if found != format!("m.toml:{expected}") {
            wrong.push(format!(
                "{text}\n  expected m.toml:{expected}\n     found {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/does/not/exist.toml")).expect_err("no such file");
    assert_eq!(
        error.to_string(),
        "/does/not/exist.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_machine_with_a_strange_name_is_localhost() {
    let surroundings = Surroundings {
        hostname: "my_machine".into(),
        cores: 0,
        resolv_conf: String::new(),
    };
    let config = Config::from_text(Path::new("m.toml"), "", &surroundings).expect("defaults");
    assert_eq!((config.hostname.as_str(), config.shards), ("localhost", 1));
}

#[test]
fn a_reload_tells_what_needs_a_restart() {
    let old = load(EXAMPLE).expect("the example is right");
    let differences = |text: &str| -> Vec<String> {
        let new = load(text).expect("a right file");
        Config::reload_differences(&old, &new)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert!(differences(EXAMPLE).is_empty());
    assert!(differences(&EXAMPLE.replace("20m", "5m")).is_empty());
    assert_eq!(
        differences(&format!("shards = 2\n{}", EXAMPLE.replace("2525", "2524"))),
        [
            "shards: 4 stays in use until a restart, the file now says 2",
            "listener.address: 127.0.0.1:2525 stays in use until a restart, \
             the file now says 127.0.0.1:2524",
        ]
    );
    assert_eq!(
        differences(&EXAMPLE.replace("/var/lib/mailrail", "/tmp/m")).len(),
        1
    );
}
