<#
.SYNOPSIS
Installs Hardline for you alone, without an administrator, from a folder of the web.

.DESCRIPTION
The folder is what `cargo xtask dist` fills: archives, and SHA256SUMS beside them. What is fetched is
compared with its sum, then its own install.cmd does the rest, and undoes it.

  $env:HARDLINE_URL = 'https://...'    the folder
  $env:HARDLINE_VERSION = '...'        which version, where the folder has several

.PARAMETER Uninstall
Removes what was installed, and nothing else.
#>
[CmdletBinding()]
param([switch] $Uninstall)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
# The bar makes Windows PowerShell 5.1 fetch many times slower.
$ProgressPreference = 'SilentlyContinue'

# Where the files are, unless HARDLINE_URL says otherwise. The project has no public address yet; once
# it has one, this is the line to change.
$DefaultUrl = ''

$Target = 'x86_64-pc-windows-gnu'

function Stop-Install([string] $Message) {
    throw "install.ps1: $Message"
}

# Stops where the program would not run.
function Assert-System {
    if ([Environment]::OSVersion.Platform -ne [PlatformID]::Win32NT) {
        Stop-Install 'this is not Windows: use install.sh'
    }
    # A 32-bit PowerShell is told of itself in the first and of the computer in the second.
    $processor = $env:PROCESSOR_ARCHITECTURE
    if ($env:PROCESSOR_ARCHITEW6432) {
        $processor = $env:PROCESSOR_ARCHITEW6432
    }
    if ($processor -eq 'ARM64') {
        Write-Warning 'there is no program for ARM yet: this one is for x86-64, which Windows 11 runs all the same'
    } elseif ($processor -ne 'AMD64') {
        Stop-Install "there is no program for the processor $processor"
    }
}

function Get-Remote([string] $Name, [string] $File) {
    try {
        Invoke-WebRequest -UseBasicParsing -Uri "$Url/$Name" -OutFile $File
    } catch {
        Stop-Install "$Url/$Name cannot be fetched: $($_.Exception.Message)"
    }
}

# Name and sum of the archive.
function Find-Archive([string] $Sums) {
    $found = @(Get-Content -LiteralPath $Sums | ForEach-Object {
        if ($_ -match "^([0-9a-f]{64})  (hardline-([^/\\]+)-$Target\.zip)$") {
            if (-not $env:HARDLINE_VERSION -or $Matches[3] -eq $env:HARDLINE_VERSION) {
                [PSCustomObject]@{ Sum = $Matches[1]; Name = $Matches[2] }
            }
        }
    })
    if ($found.Count -eq 0) {
        Stop-Install "$Url has no archive for Windows $env:HARDLINE_VERSION"
    }
    if ($found.Count -gt 1) {
        $names = ($found | ForEach-Object { $_.Name }) -join ', '
        Stop-Install "$Url has several versions, say which one with `$env:HARDLINE_VERSION: $names"
    }
    $found[0]
}

# Runs the archive's own script, which is one of cmd.exe: no policy for scripts stands in its way.
function Invoke-Script([string] $Script, [string[]] $Arguments) {
    & $Script @Arguments
    if ($LASTEXITCODE -ne 0) {
        Stop-Install "$Script failed, with exit code $LASTEXITCODE"
    }
}

function Install-Hardline {
    $scratch = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    [void](New-Item -ItemType Directory -Path $scratch)
    try {
        $sums = Join-Path $scratch 'SHA256SUMS'
        Get-Remote 'SHA256SUMS' $sums
        $archive = Find-Archive $sums
        $file = Join-Path $scratch $archive.Name
        Get-Remote $archive.Name $file
        $sum = (Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash
        if ($sum -ne $archive.Sum) {
            Stop-Install ("$($archive.Name) is damaged or not the one meant: its sum is $sum and not " +
                "$($archive.Sum). Nothing was installed")
        }
        Expand-Archive -LiteralPath $file -DestinationPath $scratch
        $script = Join-Path (Join-Path $scratch ($archive.Name -replace '\.zip$', '')) 'install.cmd'
        if (-not (Test-Path -LiteralPath $script)) {
            Stop-Install "$($archive.Name) has no install.cmd"
        }
        Invoke-Script $script @()
    } finally {
        Remove-Item -LiteralPath $scratch -Recurse -Force
    }
}

if ($Uninstall) {
    $script = Join-Path $env:LOCALAPPDATA 'Programs\Hardline\install.cmd'
    if (-not (Test-Path -LiteralPath $script)) {
        Stop-Install "nothing is installed here: $script is not there"
    }
    Invoke-Script $script @('/undo')
    return
}

$Url = $env:HARDLINE_URL
if (-not $Url) {
    $Url = $DefaultUrl
}
if (-not $Url) {
    Stop-Install 'Hardline has no public address yet: say where the files are with $env:HARDLINE_URL'
}
$Url = $Url.TrimEnd('/')
# What Windows PowerShell 5.1 leaves out by itself on older systems.
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor `
    [Net.SecurityProtocolType]::Tls12
Assert-System
Install-Hardline
