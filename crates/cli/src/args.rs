//! Command line → what to do. The texts here are the manual: `--help`, the man pages and
//! `docs/cli.md` come from them.

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ArgsOf, CommandFactory as _, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use hardline_node::apps::{self, App};
use hardline_node::config::{HostHeader, HttpSettings};
use hardline_node::proto::hosts::HostPort;

use crate::dht_args::DhtArgs;
use crate::failure::Exit;
use crate::logging::LogFormat;
use crate::proxy_env::VariablesFor;
use crate::settings::raw;

/// The shortest time that an invitation is good for.
const MINUTE: Duration = Duration::from_secs(60);

/// Opens a service on one computer in the browser of another, by its link and nothing else
///
/// Without a command: runs the gateway (where browsers of this computer open links) and publishes
/// every service of the configuration.
#[derive(Debug, Parser)]
#[command(name = "hardline", version, after_long_help = after_help(), max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Runs the gateway for an app on a phone, which tells of networks on stdin as
    /// docs/android-protocol.md says; publishes nothing
    #[arg(long)]
    pub mobile: bool,

    /// One service without a configuration.
    #[command(flatten)]
    pub legacy: LegacyArgs,

    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
}

/// Flags that every command understands.
#[derive(Debug, ArgsOf)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Configuration file, instead of the platform's (on Linux ~/.config/hardline/hardline.toml)
    #[arg(long, global = true, value_name = "FILE", env = "HARDLINE_CONFIG", hide_env_values = true)]
    #[arg(value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Folder for identities and what is remembered; with one each, several run on one computer
    #[arg(long, global = true, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,

    /// Port for browsers of this computer, 0 takes a free one [default: 7009]
    #[arg(long, global = true, value_name = "PORT")]
    pub gateway_port: Option<u16>,

    /// Port for other computers, 0 takes a free one [default: 7008]
    #[arg(long, global = true, value_name = "PORT", visible_alias = "p2pport")]
    pub p2p_port: Option<u16>,

    /// Where this computer is reached from outside, as by a port forwarded on the router; told to
    /// whoever opens a service. May be repeated
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub public_address: Vec<HostPort>,

    /// Does not ask the router to open a port (UPnP, NAT-PMP, PCP)
    #[arg(long, global = true)]
    pub no_port_mapping: bool,

    /// Relay through which the services are reached where no port can be opened, as `hardline
    /// relay` prints it; relay://TOKEN@HOST:PORT/KEYHASH. May be repeated
    #[arg(long, global = true, value_name = "URL")]
    pub relay: Vec<String>,

    /// Where to enter the DHT, `none` for none; may be repeated [default: bootstrap.jami.net:4222]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub dht_bootstrap: Vec<String>,

    /// Proxy of the DHT for where UDP is not possible, `none` for none; may be repeated [default:
    /// http://dhtproxy.jami.net]
    #[arg(long, global = true, value_name = "URL")]
    pub dht_proxy: Vec<String>,

    /// UDP port of the DHT, 0 takes a free one, `quic` the one of QUIC [default: quic]
    #[arg(long, global = true, value_name = "PORT", value_parser = port_or_quic)]
    pub dht_port: Option<String>,

    /// Neither publishes nor looks in the DHT
    #[arg(long, global = true)]
    pub no_dht: bool,

    /// Sets any key of the configuration, as in --set lan.enabled=false; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,

    /// Writes one JSON object a line on stdout; of a command that runs on, the first is
    /// {"event":"ready", ...}
    #[arg(long, global = true)]
    pub json: bool,

    /// Says only what was asked for, and logs errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Logs more: -v what starts and stops, -vv each decision, -vvv each packet
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// How log lines on stderr look
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Publishes one service without a configuration, as the first hardlinep2p did.
#[derive(Debug, ArgsOf)]
#[command(next_help_heading = "One service without a configuration, as in the first hardlinep2p")]
pub struct LegacyArgs {
    /// Host of the service; it is published instead of those of the configuration
    #[arg(long, value_name = "HOST")]
    pub service: Option<String>,

    /// Port of the service [default: 80]
    #[arg(long, value_name = "PORT", requires = "service")]
    pub serviceport: Option<NonZeroU16>,

    /// Certificate of the service; made when absent, with FILE.private and FILE.hash
    #[arg(long, value_name = "FILE", requires = "service", value_hint = ValueHint::FilePath)]
    pub certfile: Option<PathBuf>,

    /// Title of the service on the local network
    #[arg(long, value_name = "TEXT", requires = "service", value_parser = title)]
    pub servicetitle: Option<String>,

    /// Port for browsers of this computer; 0 for no gateway
    #[arg(long, value_name = "PORT", conflicts_with = "gateway_port")]
    pub localport: Option<u16>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publishes a service now and prints its link; runs the gateway too
    #[command(after_long_help = SHARE_EXAMPLES)]
    Share(ShareArgs),
    /// Lists the services of the local network as they come and go
    #[command(after_long_help = BROWSE_EXAMPLES)]
    Browse(BrowseArgs),
    /// Lists the services that were reached before, with their addresses
    Peers(PeersArgs),
    /// Makes an invitation to a private service of this computer, and prints its link
    #[command(after_long_help = INVITE_EXAMPLES)]
    Invite(InviteArgs),
    /// Accepts an invitation, so that this computer may open the service
    Accept(AcceptArgs),
    /// Lists who may come in to private services of this computer, and invitations that are good
    #[command(args_conflicts_with_subcommands = true)]
    Visitors(VisitorsArgs),
    /// Takes a visitor or an invitation back: what it has open ends at once
    Revoke(RevokeArgs),
    /// Shows own identities: link, key hash and files
    Id {
        /// Name of an identity, or path of a certificate; all of the data folder and the
        /// configuration when left out
        #[arg(value_name = "NAME|FILE")]
        identity: Option<String>,
    },
    /// Opens a link in the browser, through the gateway that runs on this computer
    Open {
        /// A link or a key hash
        link: String,
    },
    /// Makes and lists identities
    #[command(subcommand)]
    Key(KeyCommand),
    /// Says what the hardline that runs on this computer is doing: where it is reached, what is
    /// published
    Status,
    /// Says in sentences what works here and what does not, and what to do about it
    Doctor {
        /// Looks at this service alone, as a visitor would: its title, name or target
        service: Option<String>,
    },
    /// Connects stdin and stdout to a service, as ssh's ProxyCommand wants it
    #[command(after_long_help = CONNECT_EXAMPLES)]
    Connect(ReachArgs),
    /// Makes services of other computers TCP ports or Unix sockets of this one
    #[command(after_long_help = FORWARD_EXAMPLES)]
    Forward(ForwardArgs),
    /// Runs a program whose HTTP proxy is the gateway, so that it finds services by their names
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Prints environment variables that name the gateway as the HTTP proxy of programs
    #[command(after_long_help = ENV_EXAMPLES)]
    Env(EnvArgs),
    /// Runs a relay for computers that cannot open a port, and prints the address to give to them
    #[command(after_long_help = RELAY_EXAMPLES)]
    Relay {
        /// What to do with its tokens; runs the relay when left out
        #[command(subcommand)]
        command: Option<RelayCommand>,
    },
    /// Puts, gets and watches values in the DHT by hand, and runs nodes and proxies of it
    #[command(after_long_help = DHT_EXAMPLES)]
    Dht(DhtArgs),
    /// Checks, shows and documents the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints a completion script for a shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Prints the manual page, or writes those of every command into a folder
    #[command(hide = true)]
    Man {
        /// Folder to write into
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
}

/// Arguments of `share`.
#[derive(Debug, ArgsOf)]
pub struct ShareArgs {
    /// What to publish: a port of this computer (8080), another host (192.168.1.5:80, [::1]:80), a
    /// program that speaks HTTPS (https://nas:5001) or UDP (udp://127.0.0.1:53), a socket
    /// (unix:/path) or a folder (./pictures)
    #[arg(value_hint = ValueHint::AnyPath)]
    pub target: String,

    /// Identity to use instead of the target's own; made when absent
    #[arg(long, conflicts_with = "ephemeral")]
    pub name: Option<String>,

    /// Uses an identity, and so a link, that is gone when the command ends
    #[arg(long)]
    pub ephemeral: bool,

    /// Title on the local network, at most 256 bytes [default: the folder's name, or the target]
    #[arg(long, value_parser = title)]
    pub title: Option<String>,

    /// Password that becomes part of the link, 1 to 22 lower-case letters and digits; other users
    /// of this computer may see it in the list of processes, unlike that of --password-file
    #[arg(long, conflicts_with = "password_file", value_parser = password)]
    pub password: Option<String>,

    /// File that holds the password
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,

    /// Keeps the service out of lists on the local network; who has the link finds it all the same
    #[arg(long)]
    pub unlisted: bool,

    /// Lets in whom `hardline invite` has invited, and nobody else; to others it is as if no
    /// service had the link
    #[arg(long, conflicts_with = "ephemeral")]
    pub private: bool,

    /// Draws the QR code of the link even where stdout is no terminal
    #[arg(long, conflicts_with = "json")]
    pub qr: bool,

    /// What is done to its HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
}

/// What is done to the HTTP between visitors and a program.
#[derive(Debug, Default, ArgsOf)]
#[command(next_help_heading = "For programs that want to be spoken to by their own name")]
pub struct HttpArgs {
    /// The program, if it is one of those in docs/apps.md: sets what it needs of the following
    #[arg(long, value_name = "NAME", value_parser = app)]
    pub app: Option<&'static App>,

    /// What the program is told in Host, and in Origin and Referer where they name this service; a
    /// host such as localhost:8888, or `target` for the target's. Redirects are rewritten then
    #[arg(long, value_name = "HOST")]
    pub host_header: Option<HostHeader>,

    /// Tells the program who asked, in Forwarded and X-Forwarded-For, -Host and -Proto, and removes
    /// what visitors say there
    #[arg(long)]
    pub forwarded: bool,

    /// Header set in each request in place of the visitor's, as in "X-Key: secret"; other users of
    /// this computer may see it in the list of processes. May be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,

    /// Certificate that a program at https://… must have, if the system's authorities do not vouch
    /// for it: SHA256:FINGERPRINT, a PEM file, or `any`
    #[arg(long, value_name = "CERTIFICATE", value_hint = ValueHint::FilePath)]
    pub backend_certificate: Option<String>,
}

/// Arguments of `browse`.
#[derive(Debug, ArgsOf)]
pub struct BrowseArgs {
    /// Waits a moment for answers, prints them and ends
    #[arg(long)]
    pub once: bool,

    /// How long to wait, in seconds; with it the command ends as with --once [default: 2]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..))]
    pub wait: Option<u16>,
}

/// Arguments of `peers`.
#[derive(Debug, ArgsOf)]
pub struct PeersArgs {
    /// What to do with them; lists them when left out.
    #[command(subcommand)]
    pub command: Option<PeersCommand>,
}

/// What to do with remembered services.
#[derive(Debug, Subcommand)]
pub enum PeersCommand {
    /// Forgets a service and its addresses
    Forget {
        /// A link or a key hash
        link: String,
    },
}

/// Arguments of `invite`.
#[derive(Debug, ArgsOf)]
pub struct InviteArgs {
    /// The service: its link, title, name or target
    pub service: String,

    /// What the visitor is to be called; otherwise it says so itself
    #[arg(long = "for", value_name = "NAME")]
    pub name: Option<String>,

    /// Time within which the invitation has to be accepted
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
    pub expires: Duration,

    /// How many computers may accept it
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub uses: u32,

    /// Time for which who accepts it may come in [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub stay: Option<Duration>,

    /// Draws the QR code of the link even where stdout is no terminal
    #[arg(long, conflicts_with = "json")]
    pub qr: bool,
}

/// Arguments of `accept`.
#[derive(Debug, ArgsOf)]
pub struct AcceptArgs {
    /// The invitation, as `hardline invite` printed it
    pub link: String,

    /// What this computer would like to be called there
    #[arg(long)]
    pub name: Option<String>,

    /// Where the service may be, beside what is found; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Vec<String>,
}

/// Arguments of `visitors`.
#[derive(Debug, ArgsOf)]
pub struct VisitorsArgs {
    /// The service: its link, title, name or target; all when left out
    pub service: Option<String>,

    /// What to do with them; lists them when left out.
    #[command(subcommand)]
    pub command: Option<VisitorsCommand>,
}

/// What to do with visitors.
#[derive(Debug, Subcommand)]
pub enum VisitorsCommand {
    /// Gives a visitor another name
    Rename {
        /// The service: its link, title, name or target
        service: String,
        /// What the visitor is called
        name: String,
        /// What it is to be called
        to: String,
    },
}

/// Arguments of `revoke`.
#[derive(Debug, ArgsOf)]
pub struct RevokeArgs {
    /// The service: its link, title, name or target
    pub service: String,

    /// Who may not come in any more; the invitation that it came by, and those for this name, are
    /// taken back as well
    #[arg(required_unless_present = "invitation")]
    pub name: Option<String>,

    /// An invitation to take back, by its number; who came by it stays
    #[arg(long, value_name = "NUMBER", conflicts_with = "name")]
    pub invitation: Option<i64>,
}

/// What to do with identities.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes an identity in the data folder and prints its link
    New {
        /// Its name: letters, digits, '.', '-' and '_'
        name: String,
    },
    /// Lists the identities of the data folder and the configuration, as `hardline id` does
    List,
}

/// What to do with a relay.
#[derive(Debug, Subcommand)]
pub enum RelayCommand {
    /// Makes, lists and revokes tokens: who may register at the relay of this computer
    #[command(subcommand)]
    Token(TokenCommand),
}

/// What to do with the tokens of a relay.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token and prints the relay's address for whoever gets it
    New {
        /// Whose it is: letters, digits, '.', '-' and '_'
        name: String,
    },
    /// Lists the tokens by name
    List,
    /// Takes a token back; what it admitted ends within a second
    Revoke {
        /// Its name
        name: String,
    },
}

/// A service of another computer.
#[derive(Debug, ArgsOf)]
pub struct ReachArgs {
    /// A link or a key hash, with the password in front if there is one
    pub link: String,

    /// Where to try it, beside what discovery finds; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Vec<String>,
}

/// Arguments of `forward`.
#[derive(Debug, ArgsOf)]
pub struct ForwardArgs {
    /// A link or a key hash, with the password in front if there is one; with `=` and where it is
    /// to be found, as --local has it, once for each of several
    #[arg(required = true, value_name = "LINK[=LOCAL]")]
    pub links: Vec<String>,

    /// Port to listen at, with an address in front if it should not be 127.0.0.1; 0 takes a free
    /// port and says which. With udp: in front for a service that speaks UDP. Or the path of a
    /// Unix socket, which is for this user alone
    #[arg(long, value_name = "[udp:][ADDR:]PORT|PATH")]
    pub local: Option<String>,

    /// Where to try the only service, beside what discovery finds; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Vec<String>,
}

/// Arguments of `run`.
#[derive(Debug, ArgsOf)]
pub struct RunArgs {
    /// Names the gateway for HTTPS and everything else too, where it refuses what is no service
    #[arg(long)]
    pub all: bool,

    /// The program and its arguments, behind `--`
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// Arguments of `env`.
#[derive(Debug, ArgsOf)]
pub struct EnvArgs {
    /// Names the gateway for HTTPS and everything else too, where it refuses what is no service
    #[arg(long)]
    pub all: bool,

    /// Shell that shall read them [default: that of $SHELL]
    #[arg(long, value_name = "SHELL", value_enum)]
    pub shell: Option<VariablesFor>,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Reports every problem of the configuration, each with its line
    Check {
        /// The file, instead of the one that would be read
        file: Option<PathBuf>,
    },
    /// Shows every key with its value and where it was set
    Show,
    /// Prints an example file that says what every key means
    Example,
}

/// A command line that clap cannot refuse by itself: the flags of one service belong to no command.
///
/// # Errors
/// The refusal, as clap would print it.
pub fn check(args: &Args) -> Result<(), clap::Error> {
    if args.command.is_some() && (args.legacy.service.is_some() || args.legacy.localport.is_some()) {
        let message = "--service and --localport cannot be used with a command";
        return Err(Args::command().error(clap::error::ErrorKind::ArgumentConflict, message));
    }
    if args.mobile && (args.command.is_some() || args.legacy.service.is_some() || args.legacy.localport == Some(0)) {
        let message = "--mobile cannot be used with a command, with --service or without a gateway";
        return Err(Args::command().error(clap::error::ErrorKind::ArgumentConflict, message));
    }
    Ok(())
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().into(), value.trim().into()))
}

fn port_or_quic(text: &str) -> Result<String, String> {
    let is_port = text.parse::<u16>().is_ok();
    if is_port || text == "quic" { Ok(text.into()) } else { Err("write a port, 0 to 65535, or quic".into()) }
}

fn app(name: &str) -> Result<&'static App, String> {
    apps::find(name).ok_or_else(|| format!("write {}", apps::FORM))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    HttpSettings::default().add_header(name, value)?;
    Ok((name.into(), value.into()))
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|_| "write it as in 7d, 12h or 30m".to_owned())?;
    if (MINUTE..=100 * 365 * 24 * 60 * MINUTE).contains(&time) { Ok(time) } else { Err("1m is the least".to_owned()) }
}

fn title(text: &str) -> Result<String, String> {
    raw::check_title(text).map(|()| text.into())
}

fn password(text: &str) -> Result<String, String> {
    raw::check_password(text)
        .map(|()| text.into())
        .map_err(|reason| format!("{}: {reason}", crate::settings::PASSWORD_FORM))
}

fn after_help() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(TOP_EXAMPLES);
    text.push_str("\nExit codes:\n");
    for (exit, meaning) in Exit::ALL {
        let _ = writeln!(text, "  {}  {meaning}", *exit as u8);
    }
    text.push_str(
        "\nEvery key of the configuration has an environment variable, and `hardline config example` says which.\n",
    );
    text.push_str("Flags override the environment, the environment overrides the file.");
    text
}

const TOP_EXAMPLES: &str = "\
Examples:
  hardline share 8080            publishes localhost:8080 and prints its link
  hardline share ./pictures      publishes a folder
  hardline                       runs the gateway: links open in this computer's browser
  hardline browse                shows what the local network offers
  hardline doctor                says what works here

  hardline --service localhost --serviceport 80 --certfile foo.cert --localport 6767 --p2pport 7684
                                 the same in the flags of the first hardlinep2p
";

const SHARE_EXAMPLES: &str = "\
The same target keeps the same link for ever: its identity lies in the data folder. Where another hardline of this
computer has the gateway's port already, that one serves the browsers and this one only publishes.

Examples:
  hardline share 8080                         a program on this computer
  hardline share 192.168.1.5:80               a printer, a camera, another computer
  hardline share https://nas:5001             a program that speaks HTTPS
  hardline share udp://127.0.0.1:51820        a program that speaks UDP: a game, WireGuard, DNS
  hardline share 8888 --app jupyter           a program that wants to be called by its own name
  hardline share unix:/run/app.sock           a Unix socket
  hardline share ./pictures --title Pictures  a folder, shown by the built-in file server
  hardline share 8080 --name blog             under a name of its own; moves with --name when the port changes
  hardline share 8080 --ephemeral             under a link that dies with the command";

const INVITE_EXAMPLES: &str = "\
The service has to be private: `private = true`, or `hardline share --private`.

Examples:
  hardline share --private 8080
  hardline invite 8080 --for alice
  hardline invite 8080 --expires 1h --uses 3 --stay 30d
  hardline revoke 8080 alice";

const BROWSE_EXAMPLES: &str = "\
Titles are what strangers on the network say; only the link proves who answers.

Examples:
  hardline browse                    until Ctrl-C
  hardline browse --once             what answers within two seconds
  hardline browse --once --json      the same for programs";

const CONNECT_EXAMPLES: &str = "\
Nothing but the service's bytes appears on stdout.

Examples:
  hardline connect KEYHASH < request > answer
  ssh -o ProxyCommand='hardline connect KEYHASH' me@home";

const FORWARD_EXAMPLES: &str = "\
Examples:
  hardline forward KEYHASH --local 2222          then: ssh -p 2222 localhost
  hardline forward KEYHASH --local 0             a free port, which is said
  hardline forward KEYHASH=2222 KEYHASH2=8080    several
  hardline forward KEYHASH=/run/user/1000/db     a Unix socket
  hardline forward KEYHASH=udp:5353              a service that speaks UDP

For good, write a [[forward]] into the configuration for each.";

const RUN_EXAMPLES: &str = "\
Where no gateway runs, there is one for as long as the program runs. The command ends with the program's own status; with
126 where it cannot be run, and 127 where it is not there. Its HTTPS goes where it always goes. Its plain HTTP goes to the
gateway, which leads to services only: http://example.org/ is refused, and so is http://localhost:3000/, which is reached as
http://127.0.0.1:3000/. With --all everything goes to the gateway.

Examples:
  hardline run -- rclone lsf :webdav: --webdav-url http://KEYHASH.localhost:7009/
  hardline run -- git clone http://KEYHASH.localhost:7009/project.git";

const ENV_EXAMPLES: &str = "\
What the variables mean for a program, `hardline run --help` says.

Examples:
  eval \"$(hardline env)\"                                      sh, bash, zsh
  hardline env --shell fish | source
  hardline env --shell powershell | Out-String | Invoke-Expression
  hardline env --json";

const RELAY_EXAMPLES: &str = "\
A relay is any computer with a port that is reached from outside. It joins connections by server name and copies bytes;
the content is encrypted between the two ends, and it has no key.

Examples:
  hardline relay --public-address vps.example.org:7008
  hardline relay token new bob                                        another address, for bob
  hardline relay token revoke bob
  hardline --relay relay://TOKEN@vps.example.org:7008/KEYHASH share 8080    on the computer at home";

const DHT_EXAMPLES: &str = "\
Examples:
  hardline dht put hello world
  hardline dht get hello
  hardline dht node --port 4222 --bootstrap 192.168.1.5:4222
  hardline dht proxy --listen 0.0.0.0:8080
";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  hardline completions bash > ~/.local/share/bash-completion/completions/hardline
  hardline completions zsh > ~/.zfunc/_hardline
  hardline completions fish > ~/.config/fish/completions/hardline.fish";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::settings::schema::KEYS;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_first_readme_are_understood() {
        let line = "hardline --service localhost --serviceport 80 --certfile foo.cert --localport 6767 --p2pport 7684";
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(args.legacy.service.as_deref(), Some("localhost"));
        assert_eq!(args.legacy.localport, Some(6767));
        assert_eq!(args.global.p2p_port, Some(7684));
        assert!(check(&args).is_ok());
    }

    #[test]
    fn a_flag_s_help_names_the_default_of_its_key() {
        let command = Args::command();
        let default_of = |name: &str| {
            let key = KEYS.iter().find(|key| key.name == name).unwrap();
            (key.get)(&Settings::default()).unwrap().to_string()
        };
        for (flag, key) in [
            ("gateway-port", "gateway.port"),
            ("p2p-port", "p2p.port"),
            ("dht-bootstrap", "dht.bootstrap"),
            ("dht-proxy", "dht.proxies"),
            ("dht-port", "dht.port"),
        ] {
            let help = command.get_arguments().find(|argument| argument.get_long() == Some(flag)).unwrap().get_help();
            let default = default_of(key).trim_matches(['[', ']', '"']).to_owned();
            assert!(help.unwrap().to_string().contains(&format!("[default: {default}]")), "--{flag}: {default}");
        }
    }

    #[test]
    fn the_flags_of_one_service_belong_to_no_command() {
        let args = Args::try_parse_from(["hardline", "--service", "localhost", "browse"]).unwrap();
        assert!(check(&args).is_err());
    }

    #[test]
    fn a_phone_publishes_nothing_and_has_a_gateway() {
        for line in
            ["hardline --mobile browse", "hardline --mobile --service localhost", "hardline --mobile --localport 0"]
        {
            assert!(check(&Args::try_parse_from(line.split(' ')).unwrap()).is_err(), "{line}");
        }
        assert!(check(&Args::try_parse_from(["hardline", "--mobile", "--localport", "7010"]).unwrap()).is_ok());
    }

    #[test]
    fn global_flags_may_stand_before_and_behind_a_command() {
        for line in ["hardline --json -vv browse --once", "hardline browse --once --json -vv"] {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert!(args.global.json && args.global.verbose == 2);
        }
    }
}
