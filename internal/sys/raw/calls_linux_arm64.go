package raw

const sysMemfdCreate = 279
