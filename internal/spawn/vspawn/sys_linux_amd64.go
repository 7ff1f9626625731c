package vspawn

const sysExitGroup = 231
