package vspawn

const goarchIsAMD64 = 0
