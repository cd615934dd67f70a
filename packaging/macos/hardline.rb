# For a tap of Homebrew. Compiled for macOS, never run there by us.
#
# Before a release is offered, `url` becomes the address of its source archive and `sha256` that
# archive's sum: there is no address of its own yet, and example.org is nobody's.
class Hardline < Formula
  desc "Services of one computer in an ordinary browser on another, with no server between"
  homepage "https://example.org/hardline"
  url "https://example.org/hardline/hardline-0.1.0-source.tar.gz"
  version "0.1.0"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args(path: "crates/cli")
    generate_completions_from_executable(bin/"hardline", "completions", shells: [:bash, :zsh, :fish])
    system bin/"hardline", "man", "--dir", man1
    pkgshare.install "packaging/hardline.toml"
  end

  service do
    run [opt_bin/"hardline"]
    keep_alive successful_exit: false
    log_path var/"log/hardline.log"
    error_log_path var/"log/hardline.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/hardline --version")
    assert_match "no problems", shell_output("#{bin}/hardline config check")
  end
end
