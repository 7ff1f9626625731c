package vspawn

const sysExitGroup = 94
