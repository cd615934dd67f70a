@echo off
rem Installs Hardline for this user alone, without an administrator:
rem   install.cmd         the program, the search path, a start at each log-in
rem   install.cmd /undo   takes all of that away; keys, addresses and the configuration stay
setlocal
set "HARDLINE_FOLDER=%LOCALAPPDATA%\Programs\Hardline"
set "here=%~dp0"
set "run=HKCU\Software\Microsoft\Windows\CurrentVersion\Run"
if /i "%~1"=="/undo" goto undo
if not "%~1"=="" goto usage
if not exist "%here%hardline.exe" goto incomplete

if not exist "%HARDLINE_FOLDER%\" mkdir "%HARDLINE_FOLDER%"
rem A program that runs can be renamed, and not be written over.
if exist "%HARDLINE_FOLDER%\hardline.old.exe" del /q "%HARDLINE_FOLDER%\hardline.old.exe" 2>nul
if exist "%HARDLINE_FOLDER%\hardline.exe" move /y "%HARDLINE_FOLDER%\hardline.exe" "%HARDLINE_FOLDER%\hardline.old.exe" >nul
copy /y "%here%hardline.exe" "%HARDLINE_FOLDER%\hardline.exe" >nul
if not exist "%HARDLINE_FOLDER%\hardline.exe" goto refused
copy /y "%here%install.cmd" "%HARDLINE_FOLDER%\install.cmd" >nul
if exist "%here%completions\_hardline.ps1" copy /y "%here%completions\_hardline.ps1" "%HARDLINE_FOLDER%\_hardline.ps1" >nul

set "HARDLINE_ADD=1"
call :search_path
reg query HKCU\Environment /v Path 2>nul | "%SystemRoot%\System32\find.exe" /i "%HARDLINE_FOLDER%" >nul
if errorlevel 1 echo The search path could not be changed: add %HARDLINE_FOLDER% to it by hand.
rem Without a window: conhost knows --headless since Windows 10 version 1809.
reg add "%run%" /v Hardline /t REG_EXPAND_SZ /d "\"%%SystemRoot%%\System32\conhost.exe\" --headless \"%HARDLINE_FOLDER%\hardline.exe\"" /f >nul
echo Hardline is installed in %HARDLINE_FOLDER%, and starts when you log in.
echo In a new console:  hardline doctor
echo To undo this:  "%HARDLINE_FOLDER%\install.cmd" /undo
exit /b 0

:undo
reg delete "%run%" /v Hardline /f >nul 2>nul
set "HARDLINE_ADD="
call :search_path
del /q "%HARDLINE_FOLDER%\hardline.exe" 2>nul
if exist "%HARDLINE_FOLDER%\hardline.exe" goto running
if exist "%HARDLINE_FOLDER%\hardline.old.exe" del /q "%HARDLINE_FOLDER%\hardline.old.exe" 2>nul
if exist "%HARDLINE_FOLDER%\_hardline.ps1" del /q "%HARDLINE_FOLDER%\_hardline.ps1"
echo Hardline is removed. Keys, addresses and the configuration stay in %APPDATA%\hardline.
rem One line: what is deleted cannot be read on.
del /q "%HARDLINE_FOLDER%\install.cmd" 2>nul & rmdir "%HARDLINE_FOLDER%" 2>nul & exit /b 0

:running
echo Hardline is running: end it and do this again. It does not start at log-in any more.
exit /b 1
:usage
echo Usage: install.cmd [/undo]
exit /b 2
:incomplete
echo hardline.exe is not beside this file: unpack the whole archive first.
exit /b 1
:refused
echo %HARDLINE_FOLDER% cannot be written.
exit /b 1

rem The user's part of the search path, as it is stored: names of variables in it stay names, and
rem letters of every language letters, which batch files do not promise. The last call lets
rem programs that run know.
:search_path
powershell -NoProfile -ExecutionPolicy Bypass -Command "$key = [Microsoft.Win32.Registry]::CurrentUser.CreateSubKey('Environment'); $folder = $env:HARDLINE_FOLDER; $old = [string]$key.GetValue('Path', '', 'DoNotExpandEnvironmentNames'); $new = @($old.Split(';') | Where-Object { $_ -and $_ -ne $folder }); if ($env:HARDLINE_ADD) { $new += $folder }; $key.SetValue('Path', ($new -join ';'), 'ExpandString'); [Environment]::SetEnvironmentVariable('HARDLINE_FOLDER', $null, 'User')" >nul 2>nul
exit /b 0
